//! Which database: a file of SQLite, or servers of PostgreSQL.

use std::fmt;
use std::path::{Path, PathBuf};

use super::secret::Secret;

/// Where messages are kept.
#[derive(Debug, Clone)]
pub enum Database {
    /// This file.
    Sqlite(PathBuf),
    /// These servers.
    Postgres(PostgresUrl),
}

impl Database {
    /// The file, where it is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

/// A `postgres://USER:PASSWORD@HOST:PORT,HOST:PORT/NAME?parameters` URL. Shown without its
/// password.
#[derive(Clone)]
pub struct PostgresUrl {
    url: Secret,
    shown: String,
}

impl PostgresUrl {
    /// Takes a URL apart far enough to know that it has hosts and a database.
    ///
    /// # Errors
    /// What it lacks, without its text.
    pub fn parse(url: Secret) -> Result<Self, String> {
        let parts = Parts::of(url.reveal()).ok_or("is no postgres:// URL")?;
        if parts.hosts.split(',').any(str::is_empty) && !parts.query.contains("host=") {
            return Err("names no host".to_owned());
        }
        if parts.database.is_empty() {
            return Err("names no database: write it behind the host, as in /amtpd".to_owned());
        }
        let user = parts.user.split(':').next().unwrap_or_default();
        let at = if user.is_empty() { "" } else { "@" };
        let shown = format!("postgres://{user}{at}{}/{}", parts.hosts, parts.database);
        Ok(Self { url, shown })
    }

    /// One URL for each host, in the order they are named.
    #[must_use]
    pub fn hosts(&self) -> Vec<Secret> {
        let Some(parts) = Parts::of(self.url.reveal()) else {
            return Vec::new();
        };
        let at = if parts.user.is_empty() { "" } else { "@" };
        let question = if parts.query.is_empty() { "" } else { "?" };
        parts
            .hosts
            .split(',')
            .map(|host| {
                Secret::new(format!(
                    "postgres://{}{at}{host}/{}{question}{}",
                    parts.user, parts.database, parts.query
                ))
            })
            .collect()
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown.fmt(f)
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PostgresUrl").field(&self.shown).finish()
    }
}

struct Parts<'a> {
    user: &'a str,
    hosts: &'a str,
    database: &'a str,
    query: &'a str,
}

impl<'a> Parts<'a> {
    fn of(url: &'a str) -> Option<Self> {
        let rest = url
            .strip_prefix("postgres://")
            .or_else(|| url.strip_prefix("postgresql://"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        Some(Self {
            user,
            hosts,
            database,
            query,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<PostgresUrl, String> {
        PostgresUrl::parse(Secret::new(url.to_owned()))
    }

    #[test]
    fn each_host_has_a_url_and_none_shows_the_password() {
        let url = parse("postgresql://me:s%40cret@one:5433,two/amtpd?sslmode=require").unwrap();
        let hosts: Vec<_> = url
            .hosts()
            .iter()
            .map(|it| it.reveal().to_owned())
            .collect();
        assert_eq!(
            hosts,
            [
                "postgres://me:s%40cret@one:5433/amtpd?sslmode=require",
                "postgres://me:s%40cret@two/amtpd?sslmode=require"
            ]
        );
        assert_eq!(url.to_string(), "postgres://me@one:5433,two/amtpd");
        assert!(!format!("{url:?}").contains("cret"));
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(parse("postgres:///amtpd").unwrap_err(), "names no host");
        assert!(parse("postgres://one").unwrap_err().contains("no database"));
        assert!(parse("postgres:///amtpd?host=/run/postgresql").is_ok());
    }
}
