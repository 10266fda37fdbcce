//! Section `secrets`: the key that seals what the database keeps of others' credentials.

use super::kind::{List, SealingKey};
use super::secret::Secret;
use super::section::section;

section! {
    /// The key that seals credentials in the database, such as the headers of push targets, so that a copy
    /// of the database gives none away. Without this section agents cannot have such headers.
    pub struct Secrets = "secrets" {
        /// 32 bytes in base64. Keep a copy apart from the database: without it sealed values are lost.
        "key_file" key: Secret as SealingKey,
        /// Keys that sealed before, or will: what was sealed with them still opens, and is sealed with
        /// `key_file` anew. `amtpd check` says when nothing rests on one any more.
        previous: Vec<Secret> as List<SealingKey> = "[]",
    }
}
