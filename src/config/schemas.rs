//! Section `schemas`: which payloads are checked against what.

use std::path::PathBuf;

use super::kind::{Optional, Registries, RegistryEntry, SchemaFolder, Unknown, UnknownSchemas};
use super::section::section;

section! {
    /// The schemas that payloads are checked against. More are stored by `amtpd schema add`.
    pub struct Schemas = "schemas" {
        /// A folder of schemas, one in each file that ends with `.json`. They are read again on SIGHUP and
        /// when a file changes.
        dir: Option<PathBuf> as Optional<SchemaFolder>,
        /// What becomes of a message whose schema is not known here: it is taken, or refused.
        unknown: UnknownSchemas as Unknown = "accept",
        /// Registries of others that are asked for schemas that are not known here. Each has the `url` that
        /// the identifier is added to, the public `key` its answers are signed with (ES256, base64 of the DER
        /// form), and the `patterns` of the identifiers it is asked for.
        registries: Vec<RegistryEntry> as Registries = "[]",
    }
}
