//! Section `admin`: who may administer.

use ipnet::IpNet;

use super::kind::{List, Network, SecretFile};
use super::secret::Secret;
use super::section::section;

section! {
    /// Who may use the admin API.
    pub struct Admin = "admin" {
        /// The key that the admin API asks for, at least 16 characters.
        "key_file" key: Secret as SecretFile,
        /// The addresses the admin API answers to, whatever the key.
        from: Vec<IpNet> as List<Network> = "[127.0.0.0/8, \"::1\"]",
    }
}
