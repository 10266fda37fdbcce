//! The listener over real sockets, with a real TLS client.

mod bench;
mod limits;
mod shutdown;
mod transport;
