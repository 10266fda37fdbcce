//! The HTTP endpoint: every route in one list, typed extraction in, the AMTP error body out.

pub mod edge;
pub mod error;
pub mod request_id;
pub mod server;
