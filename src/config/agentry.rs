//! Section `agentry`: agents that came from Agentry, the Go gateway.

use super::kind::Credential;
use super::secret::Secret;
use super::section::section;

section! {
    /// For agents whose keys came from Agentry, with `amtpd import agentry`. It is needed only where Agentry
    /// salted its keys, and until each of them was used once: then its hash is our own.
    pub struct AgentryKeys = "agentry" {
        /// The salt: what `AMTP_AUTH_API_KEY_SALT` was there.
        key_salt: Secret as Credential,
    }
}
