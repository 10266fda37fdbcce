//! `amtpd check`: is the configuration fit to start with?
//!
//! Beyond what loading finds, it looks at what the configuration names: certificates and their keys,
//! authorities, who may read the keys, the folder and the disk of the database, or its servers. What would keep the
//! gateway from working is a fault; what only deserves a look is a warning. It changes nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use rustix::fs::Access;
use serde::Serialize;

use super::{BAD_CONFIGURATION, Reported, show};
use crate::clock::Clock;
use crate::config::{Config, Database, Environment, Fault, Place, Places, PostgresUrl, Size};
use crate::store::{self, Durability};

mod certificate;
mod outgoing;
mod policies;
mod schemas;
mod sealed;
#[cfg(test)]
mod tests;

use certificate::{Found, Named};

/// Check a configuration, the files it names, and the disk; exit code 78 says there are faults
#[derive(Debug, Args)]
pub(super) struct CheckCommand {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print JSON for programs
    #[arg(long)]
    json: bool,
}

impl CheckCommand {
    pub(super) async fn run(self) -> Result<()> {
        let environment = Environment::of_process();
        let report = Report::of(&self.config, &environment, &Clock::system()).await;
        show(&if self.json {
            report.json()?
        } else {
            report.text(&self.config)
        })?;
        match report.valid {
            true => Ok(()),
            false => Err(Reported(BAD_CONFIGURATION).into()),
        }
    }
}

/// What the check found.
#[derive(Debug, Default, Serialize)]
struct Report {
    valid: bool,
    faults: Vec<Fault>,
    warnings: Vec<Fault>,
    /// How much rests on each key that seals.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sealed: Vec<sealed::Sealed>,
}

impl Report {
    async fn of(file: &Path, environment: &Environment, clock: &Clock) -> Self {
        let mut report = match Config::load_with_places(file, environment) {
            Ok((config, places)) => {
                let mut look = Look {
                    places,
                    report: Self::default(),
                };
                look.at_certificate(&config, clock);
                look.at_keys(&config);
                look.at_outgoing(&config, clock.now());
                look.at_policies(&config);
                look.at_schemas(&config);
                look.at_store(&config).await;
                look.at_sealed(&config).await;
                look.report
            }
            Err(faults) => Self {
                faults: faults.into_faults(),
                ..Self::default()
            },
        };
        report.valid = report.faults.is_empty();
        report
    }

    fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    fn text(&self, file: &Path) -> String {
        let faults = self.faults.iter().map(|fault| format!("{fault}\n"));
        let warnings = self
            .warnings
            .iter()
            .map(|warning| format!("warning: {warning}\n"));
        let sealed = self.sealed.iter().map(|sealed| format!("{sealed}\n"));
        let lines: String = faults.chain(warnings).chain(sealed).collect();
        let verdict = if self.valid {
            "is valid"
        } else {
            "cannot be used"
        };
        let found = format!(
            "{}, {}",
            counted(self.faults.len(), "fault"),
            counted(self.warnings.len(), "warning")
        );
        format!("{lines}{} {verdict}: {found}.\n", file.display())
    }
}

fn counted(number: usize, word: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {word}{plural}")
}

/// A look at what a valid configuration names.
struct Look {
    places: Places,
    report: Report,
}

impl Look {
    fn fault(&mut self, key: &str, text: String) {
        let fault = self.about(key, text);
        self.report.faults.push(fault);
    }

    fn warning(&mut self, key: &str, text: String) {
        let warning = self.about(key, text);
        self.report.warnings.push(warning);
    }

    fn about(&self, key: &str, text: String) -> Fault {
        let place: Place = self.places.find(key);
        let key = key.to_owned();
        Fault { place, key, text }
    }

    fn at_certificate(&mut self, config: &Config, clock: &Clock) {
        let certificate = Named {
            key: "tls.cert_file",
            file: &config.tls.cert_file,
        };
        let key = Named {
            key: "tls.key_file",
            file: &config.tls.key_file,
        };
        let host = Some(config.gateway_url.host());
        self.take(certificate::inspect(certificate, key, host, clock.now()));
    }

    fn take(&mut self, found: Found) {
        for (key, text) in found.faults {
            self.fault(&key, text);
        }
        for (key, text) in found.warnings {
            self.warning(&key, text);
        }
    }

    fn at_keys(&mut self, config: &Config) {
        self.at_permissions("tls.key_file", &config.tls.key_file);
        let secrets = config.secrets.iter();
        let secrets = secrets.flat_map(|it| {
            let previous = it.previous.iter().map(|key| ("secrets.previous", key));
            std::iter::once(("secrets.key_file", &it.key)).chain(previous)
        });
        let signing = config.signing.as_ref();
        let signing = signing.map(|signing| ("signing.key_file", &signing.key));
        let admin = std::iter::once(("admin.key_file", &config.admin.key));
        for (key, secret) in admin.chain(secrets).chain(signing) {
            if let Some(file) = secret.file() {
                self.at_permissions(key, file);
            }
        }
    }

    /// A group may read a key: that is how a service's user gets at a file of root's.
    fn at_permissions(&mut self, key: &str, file: &Path) {
        let Ok(facts) = fs::metadata(file) else {
            return;
        };
        let mode = facts.permissions().mode() & 0o777;
        if mode & 0o027 != 0 {
            let file = file.display();
            let text =
                format!("others can get at {file} (mode {mode:04o}); run `chmod 600 {file}`");
            self.warning(key, text);
        }
    }

    async fn at_store(&mut self, config: &Config) {
        match &config.store.database {
            Database::Sqlite(file) => self.at_file(file, config.limits.min_free_disk),
            Database::Postgres(url) => self.at_servers(url).await,
        }
    }

    /// Asks the servers; migrates nothing.
    async fn at_servers(&mut self, url: &PostgresUrl) {
        match store::inspect(url).await {
            Err(error) => self.fault("store.url", error.to_string()),
            Ok(Durability::Standby { connected: true }) => {}
            Ok(durability) => self.warning("store.url", durability.to_string()),
        }
    }

    fn at_file(&mut self, database: &Path, least_free: u64) {
        let folder = database.parent().unwrap_or(Path::new("/"));
        let wanted = Access::READ_OK | Access::WRITE_OK;
        let beside = rustix::fs::access(folder, wanted | Access::EXEC_OK);
        let itself = rustix::fs::access(database, wanted);
        if let Err(error) = beside {
            let text = format!(
                "files cannot be made in {}: {error}; the gateway's user must own it",
                folder.display()
            );
            self.fault("store.url", text);
        } else if let Err(error) = itself
            && database.exists()
        {
            let text = format!("{} cannot be written: {error}", database.display());
            self.fault("store.url", text);
        }
        self.at_disk(folder, least_free);
    }

    fn at_disk(&mut self, folder: &Path, least: u64) {
        let Ok(facts) = rustix::fs::statvfs(folder) else {
            return;
        };
        let free = facts.f_bavail.saturating_mul(facts.f_frsize);
        if free < least {
            let text = format!(
                "the disk of {} has {} MiB left; below limits.min_free_disk ({}) messages are refused",
                folder.display(),
                free >> 20,
                Size(least)
            );
            self.warning("store.url", text);
        }
    }
}
