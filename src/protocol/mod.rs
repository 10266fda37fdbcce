//! What AMTP says: values without I/O, clock or randomness.

mod text_serde;

pub mod address;
pub mod advertisement;
pub mod bounce;
pub mod coordination;
pub mod error_code;
pub mod ids;
pub mod json;
mod jwe;
pub mod list;
pub mod message;
pub mod schema_id;
pub mod signature;
pub mod status;
pub mod timestamp;
pub mod wire;

pub use address::{Address, AddressFault, AgentName, Domain, is_reserved};
pub use advertisement::{Advertisement, GatewayUrl};
pub use bounce::{Bounce, BounceKind, Heading};
pub use coordination::Coordination;
pub use error_code::{ErrorBody, ErrorCode};
pub use ids::{IdFault, IdempotencyKey, MessageId};
pub use jwe::is_jwe;
pub use message::{Attachment, Limits, Message, MessageFault, Priority, Profile, Violation};
pub use schema_id::{SchemaId, SchemaPattern};
pub use signature::{Algorithm, KeyRecord, Selector, SignatureObject, Signer};
pub use status::{DeliveryStatus, MessageStatus, aggregate};
pub use timestamp::Timestamp;
