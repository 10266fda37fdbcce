//! What others connect to: each endpoint translates a protocol into calls of intake and store.

pub mod a2a;
mod accepting;
pub mod http;
mod pace;
mod pieces;
mod proxy_protocol;
mod seats;
pub mod smtp;
pub mod websocket;
