//! Section `retention`: how long what is over is kept.

use std::time::Duration;

use super::kind::Period;
use super::section::section;

const SECOND: u64 = 1_000;
const TEN_YEARS: u64 = 3_650 * 86_400 * SECOND;

section! {
    /// How long what is over is kept.
    pub struct Retention = "retention" {
        /// How long a message can be shown after its last delivery was settled, and a task after it ended.
        settled: Duration as Period<SECOND, TEN_YEARS> = "7d",
        /// How long a message stays in the database after its reader acknowledged it.
        acknowledged: Duration as Period<SECOND, TEN_YEARS> = "1d",
        /// How long the record of a delivery that failed for good is kept.
        dead_letters: Duration as Period<SECOND, TEN_YEARS> = "30d",
        /// How long an entry of the audit log is kept. The last one of each gateway stays.
        audit: Duration as Period<SECOND, TEN_YEARS> = "400d",
    }
}
