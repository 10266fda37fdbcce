//! The SMTP endpoint: mail comes in.
//!
//! The dialogue is a pure state machine; the listener feeds it bytes and does what it asks for. Mail is
//! taken for our own domains only, and "250" after the content means that it is on disk.

pub mod dialogue;
mod listener;
mod mailroom;
mod session;

pub use listener::{MailListener, MailListenerFault, MailListenerOptions};
pub use mailroom::{Mailroom, MailroomRules};
