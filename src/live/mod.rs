//! Who is connected and waits for what.

mod replies;

pub use replies::{Asked, Replied, wait_for_reply};
