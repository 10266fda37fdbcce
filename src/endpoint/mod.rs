//! What others connect to: each endpoint translates a protocol into calls of intake and store.

pub mod http;
pub mod websocket;
