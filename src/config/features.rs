//! Section `features`: switches for gradual rollout.

use super::section::section;

section! {
    /// Switches for what is being rolled out. There are none in this version.
    pub struct Features = "features" {}
}
