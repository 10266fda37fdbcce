//! Section `policies`: what may pass.

use std::path::PathBuf;

use super::kind::Folder;
use super::section::section;

section! {
    /// What may pass. Without this section, and while the folder has no file, agents may send anything, and
    /// mail of others is taken whether it is verified or not.
    pub struct Policies = "policies" {
        /// A folder of files `*.yaml` or `*.yml`, which in the order of their names make one list of rules;
        /// see docs/policies.md. It is read again on SIGHUP and when a file in it changes; while a file has
        /// a fault, the rules of before stay.
        dir: PathBuf as Folder,
    }
}
