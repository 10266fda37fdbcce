//! How large and how many: everything a client or an agent may say is bounded.
//!
//! The size of a request as a whole is bounded by `limits.message_size`, as of any message.

/// Parts of a message or an artifact.
pub const MOST_PARTS: usize = 1_000;
/// Ids of other tasks that a message refers to, and URIs of extensions.
pub const MOST_NAMES: usize = 100;
/// Artifacts in a task that an agent sends whole, and responses in one reply.
pub const MOST_CHANGES: usize = 1_000;
/// Bytes of an id, a name or a word.
pub const LONGEST_NAME: usize = 2_048;
/// Bytes of the id of a context that a client chooses.
pub const LONGEST_CONTEXT: usize = 128;
/// Bytes of the id of a message or an artifact.
pub const LONGEST_ID: usize = 256;
/// Levels of a payload. An AMTP message may have 128, and a payload stands a few levels deep in one.
pub const DEEPEST: usize = 100;
/// Bytes of what is shown to the receiver of push notifications.
pub const LONGEST_SECRET: usize = 8_192;
/// Bytes of a URL.
pub const LONGEST_URL: usize = 2_048;
/// Characters of a subject that is made of the first text.
pub const SUBJECT: usize = 78;
