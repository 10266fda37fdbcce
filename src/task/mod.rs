//! Tasks: what an A2A client sees of an exchange of messages with an agent.
//!
//! - [`model`] holds the values of A2A 1.0. They are written as exact JSON: nothing that is not in
//!   the protocol, and payloads with their numbers as they came.
//! - [`json`] and [`read`] take JSON as ProtoJSON writers send it; `older` has what the dialects before
//!   1.0 write and read in their own way on both sides of a call.
//! - [`state`] says which state may follow which. A task that ended never changes.
//! - [`request`] makes the AMTP message an agent gets, [`reply`] reads what the agent answers;
//!   [`outward`] does the same the other way round, for A2A agents of others.
//! - [`change`] turns what happened into steps that the store takes in one commit, [`whole`] reads
//!   a task back from its rows. [`push`] does the same for where changes are posted.
//!
//! Values and functions only: no clock, no I/O, no randomness.

pub mod bounds;
pub mod change;
pub mod json;
pub mod model;
pub(crate) mod older;
pub mod outward;
pub mod owner;
pub mod page;
pub mod push;
pub mod read;
pub mod reply;
pub mod request;
pub mod state;
#[cfg(test)]
mod tests;
pub mod whole;

pub use change::Change;
pub use json::{Fault, Json, Object, Place};
pub use model::{
    Artifact, ArtifactUpdate, Content, Message, Part, PushAuthentication, PushConfig, Role,
    SendConfiguration, SendRequest, StatusUpdate, StreamResponse, Task, TaskStatus,
};
pub use owner::Owner;
pub use state::TaskState;

/// The extension under which AMTP's own words stand in metadata, and by which a card names the
/// agent's AMTP address.
pub const AMTP_EXTENSION: &str = "urn:amtp:a2a:v1";

/// The dialect of A2A that a task or a push configuration was made in, and is answered in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// 1.0.
    V1,
    /// 0.3, and 0.2, which differs little.
    V03,
    /// 0.1: `tasks/send`.
    V01,
}

impl Dialect {
    /// The number kept in the database.
    #[must_use]
    pub const fn code(self) -> i64 {
        match self {
            Self::V1 => 10,
            Self::V03 => 3,
            Self::V01 => 1,
        }
    }

    /// The dialect of a stored number; an unknown one reads as 1.0.
    #[must_use]
    pub const fn from_code(code: i64) -> Self {
        match code {
            1 => Self::V01,
            3 => Self::V03,
            _ => Self::V1,
        }
    }

    /// As the version is written: `1.0`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "1.0",
            Self::V03 => "0.3",
            Self::V01 => "0.1",
        }
    }
}
