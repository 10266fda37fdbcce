//! The profile of client commands: which gateway, with which key.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What client commands use where no option says otherwise.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The gateway's URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// The file that holds the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// The certificates to believe instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The address to connect to instead of asking for the gateway's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolve: Option<IpAddr>,
    /// The agent's address, as sender and mailbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// What is wrong with a profile.
#[derive(Debug, Error)]
pub enum ProfileFault {
    /// It cannot be read.
    #[error("{path}: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's words.
        cause: std::io::Error,
    },
    /// It is not a profile.
    #[error("{path}: {cause}")]
    Form {
        /// The file.
        path: PathBuf,
        /// What and where.
        cause: serde_yaml::Error,
    },
}

impl Profile {
    /// Reads a profile; paths in it are relative to its folder.
    ///
    /// # Errors
    /// [`ProfileFault`].
    pub fn load(path: &Path) -> Result<Self, ProfileFault> {
        let text = std::fs::read_to_string(path).map_err(|cause| ProfileFault::File {
            path: path.to_owned(),
            cause,
        })?;
        let mut profile: Self =
            serde_yaml::from_str(&text).map_err(|cause| ProfileFault::Form {
                path: path.to_owned(),
                cause,
            })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        for file in [&mut profile.key_file, &mut profile.ca_file]
            .into_iter()
            .flatten()
        {
            *file = folder.join(&file);
        }
        Ok(profile)
    }

    /// The profile in the user's configuration folder, or an empty one where there is none.
    ///
    /// # Errors
    /// [`ProfileFault`] when there is one that cannot be used.
    pub fn of_user() -> Result<Self, ProfileFault> {
        match user_folder("XDG_CONFIG_HOME", ".config")
            .map(|folder| folder.join("amtpd/profile.yaml"))
        {
            Some(path) if path.exists() => Self::load(&path),
            _ => Ok(Self::default()),
        }
    }
}

/// Where programs keep data of this user: `$XDG_DATA_HOME`, else `~/.local/share`. Nothing for a
/// user without a home.
#[must_use]
pub fn user_data_folder() -> Option<PathBuf> {
    user_folder("XDG_DATA_HOME", ".local/share")
}

#[allow(clippy::disallowed_methods, reason = "config reads the environment")]
fn user_folder(variable: &str, in_home: &str) -> Option<PathBuf> {
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set(variable).or_else(|| set("HOME").map(|home| home.join(in_home)))
}
