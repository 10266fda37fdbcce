//! What AMTP says: values without I/O, clock or randomness.

mod text_serde;

pub mod address;
pub mod error_code;
pub mod ids;
pub mod status;
pub mod timestamp;

pub use address::{Address, AddressFault, AgentName, Domain, is_reserved};
pub use error_code::{ErrorBody, ErrorCode};
pub use ids::{IdFault, IdempotencyKey, MessageId};
pub use status::{DeliveryStatus, MessageStatus, aggregate};
pub use timestamp::Timestamp;
