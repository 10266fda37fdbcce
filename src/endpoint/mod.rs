//! What others connect to: each endpoint translates a protocol into calls of intake and store.

mod accepting;
pub mod http;
mod proxy_protocol;
mod seats;
pub mod smtp;
pub mod websocket;
