//! What goes on without anybody calling.

mod backoff;
mod destination;
mod lane;
mod sweeper;
mod window;

pub use backoff::Schedule;
pub use sweeper::Sweeper;
