//! WebSocket: an agent that cannot open a port sends and receives over one connection.
//!
//! Bytes become events (`wire`, `deflate`), events become steps (`frames`, `dialogue`), steps become
//! calls of intake, live and topics (`acts`, `many`); [`Conversation`] drives them. Everything before
//! the calls is pure. The frames are described in `docs/websocket.md`.

mod acts;
mod client;
mod close;
mod conversation;
mod deflate;
mod dial;
mod dialogue;
mod frames;
mod handshake;
mod many;
mod outbox;
mod pulse;
mod source;
mod wire;

pub use acts::{Peer, Room, Tools, Wish};
pub use client::{Client, Heard};
pub use conversation::{Conversation, Manner};
pub use dial::{Dialler, Greeting, Mine};
pub use frames::SUBPROTOCOL;
pub use handshake::{Handshake, HandshakeFault};
