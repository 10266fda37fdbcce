//! The transport against a real server.

mod batches;
mod bench;
mod singles;
