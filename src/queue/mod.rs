//! What goes on without anybody calling.

mod sweeper;

pub use sweeper::Sweeper;
