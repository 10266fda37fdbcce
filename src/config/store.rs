//! Section `store`: where messages are kept.

use super::database::Database;
use super::kind::DatabaseUrl;
use super::section::section;

section! {
    /// Where messages are kept.
    pub struct Store = "store" {
        /// The database. `sqlite:///PATH`: a file on a local disk, made when it is not there, for one gateway; it
        /// is the only copy of accepted messages, so back it up. `postgres://USER:PASSWORD@HOST:PORT/NAME`
        /// (version 15 or later): for one or several gateways; name more hosts with commas, and the one that
        /// takes writes is used (a standby that was promoted is found by itself). A URL with a password is best
        /// kept apart: `file:PATH` or `env:NAME`.
        "url" database: Database as DatabaseUrl,
    }
}
