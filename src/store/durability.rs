//! What "202" promises on this database.

use std::fmt;

/// How much of what was acknowledged survives what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Durability {
    /// A crash of the process, of the database and of its host; not the loss of its disk.
    OneHost,
    /// The loss of the host as well: a commit waits for a standby.
    Standby {
        /// Whether one is connected now; without one nothing is accepted.
        connected: bool,
    },
    /// Not even a crash of the host, because of this setting.
    Unsafe(String),
}

impl Durability {
    /// The word for programs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::OneHost => "one-host",
            Self::Standby { .. } => "standby",
            Self::Unsafe(_) => "unsafe",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneHost => f.write_str(
                "what is acknowledged survives a crash, but not the loss of the database's disk",
            ),
            Self::Standby { connected: true } => {
                f.write_str("what is acknowledged survives the loss of the database's host")
            }
            Self::Standby { connected: false } => {
                f.write_str("no synchronous standby is connected: commits wait until one is")
            }
            Self::Unsafe(why) => write!(
                f,
                "{why} in the database: a crash may lose what was acknowledged"
            ),
        }
    }
}
