//! What AMTP says: values without I/O, clock or randomness.

pub mod timestamp;

pub use timestamp::Timestamp;
