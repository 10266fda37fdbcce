//! WebSocket: an agent that cannot open a port sends and receives over one connection.

mod close;
mod deflate;
mod dialogue;
mod frames;
mod outbox;
mod wire;

pub use frames::SUBPROTOCOL;
