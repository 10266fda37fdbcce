//! Outgoing connections: the one place where they are opened.

mod client;

pub use client::{HttpsClient, NetError, Options, Roots};
