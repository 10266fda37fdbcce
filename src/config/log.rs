//! Section `log`: what is logged, and how.

use super::kind::{Format, Level, LogFormat};
use super::section::section;

section! {
    /// What is logged, on standard error.
    pub struct Log = "log" {
        /// One JSON object a line, or text for people.
        format: LogFormat as Format = "json",
        /// The least level that is logged; also by module, as `info,amtpd::store=debug`.
        level: String as Level = "info",
    }
}
