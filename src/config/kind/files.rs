//! Kinds that name files: paths, secrets, the database.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Misfit, Scalar};
use crate::config::database::{Database, PostgresUrl};
use crate::config::reading::Reading;
use crate::config::secret::Secret;
use crate::protocol::{Selector, Signer};

/// A shorter secret can be guessed.
const SHORTEST_SECRET: usize = 16;

/// A certificate chain; that this process can read the file is all that is checked.
pub(in crate::config) struct CertificateFile;

impl Scalar for CertificateFile {
    type Value = PathBuf;

    fn noun() -> String {
        "the path of a file".to_owned()
    }

    fn example() -> &'static str {
        "tls/cert.pem"
    }

    fn parse(text: &str, reading: &Reading<'_>) -> Result<PathBuf, Misfit> {
        readable(text, reading)
    }
}

/// A private key; that this process can read the file is all that is checked.
pub(in crate::config) struct PrivateKeyFile;

impl Scalar for PrivateKeyFile {
    type Value = PathBuf;

    fn noun() -> String {
        "the path of a file".to_owned()
    }

    fn example() -> &'static str {
        "tls/key.pem"
    }

    fn parse(text: &str, reading: &Reading<'_>) -> Result<PathBuf, Misfit> {
        readable(text, reading)
    }
}

/// Certificates of authorities; that this process can read the file is all that is checked.
pub(in crate::config) struct AuthorityFile;

impl Scalar for AuthorityFile {
    type Value = PathBuf;

    fn noun() -> String {
        "the path of a file".to_owned()
    }

    fn example() -> &'static str {
        "tls/ca.pem"
    }

    fn parse(text: &str, reading: &Reading<'_>) -> Result<PathBuf, Misfit> {
        readable(text, reading)
    }
}

fn readable(text: &str, reading: &Reading<'_>) -> Result<PathBuf, Misfit> {
    let path = path(text, reading)?;
    let opened = File::open(&path).and_then(|file| file.metadata());
    match opened {
        Ok(facts) if facts.is_dir() => Err(Misfit::Because("is a directory; name a file".into())),
        Ok(_) => Ok(path),
        Err(error) => Err(unreadable(&path, &error)),
    }
}

/// A folder that is there.
pub(in crate::config) struct Folder;

impl Scalar for Folder {
    type Value = PathBuf;

    fn noun() -> String {
        "the path of a folder".to_owned()
    }

    fn example() -> &'static str {
        "policies"
    }

    fn parse(text: &str, reading: &Reading<'_>) -> Result<PathBuf, Misfit> {
        let path = path(text, reading)?;
        match fs::read_dir(&path) {
            Ok(_) => Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
                Err(Misfit::Because("is no folder; name one".to_owned()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let reason = format!("names no folder: there is no {}; make it", path.display());
                Err(Misfit::Because(reason))
            }
            Err(error) => Err(unreadable(&path, &error)),
        }
    }
}

/// A secret that is kept in a file or in the environment.
pub(in crate::config) struct SecretFile;

impl Scalar for SecretFile {
    type Value = Secret;

    fn noun() -> String {
        "the path of a file with the secret, or `env:NAME`".to_owned()
    }

    fn example() -> &'static str {
        "admin.key"
    }

    fn parse(text: &str, reading: &Reading<'_>) -> Result<Secret, Misfit> {
        let secret = secret(text, reading)?;
        if secret.reveal().len() < SHORTEST_SECRET {
            let reason =
                format!("holds a secret that is too short: at least {SHORTEST_SECRET} characters");
            return Err(Misfit::Because(reason));
        }
        Ok(secret)
    }
}

/// A secret that is the value of a header. It must be named with its kind of place: a secret that was
/// written into the configuration itself is not taken for a file's name, nor shown.
pub(in crate::config) struct Credential;

impl Scalar for Credential {
    type Value = Secret;

    fn noun() -> String {
        "`file:` and the path of a file with the secret, or `env:NAME`".to_owned()
    }

    fn example() -> &'static str {
        "file:partner.key"
    }

    fn parse(text: &str, reading: &Reading<'_>) -> Result<Secret, Misfit> {
        if !text.starts_with("file:") && !text.starts_with("env:") {
            let reason = format!("must be {}, not the secret itself", Self::noun());
            return Err(Misfit::Unshown(reason));
        }
        let secret = secret(text, reading)?;
        if secret.reveal().is_empty() {
            return Err(Misfit::Because("holds nothing".to_owned()));
        }
        if !secret
            .reveal()
            .bytes()
            .all(|byte| matches!(byte, b' '..=b'~'))
        {
            let reason = "does not hold one line of visible ASCII characters";
            return Err(Misfit::Because(reason.to_owned()));
        }
        Ok(secret)
    }
}

/// A secret that is a key of 32 bytes.
pub(in crate::config) struct SealingKey;

impl Scalar for SealingKey {
    type Value = Secret;

    fn noun() -> String {
        "the path of a file with 32 bytes in base64, or `env:NAME`".to_owned()
    }

    fn example() -> &'static str {
        "secrets.key"
    }

    fn parse(text: &str, reading: &Reading<'_>) -> Result<Secret, Misfit> {
        let secret = secret(text, reading)?;
        let key = STANDARD.decode(secret.reveal());
        if key.is_ok_and(|bytes| bytes.len() == 32) {
            return Ok(secret);
        }
        let reason = "does not hold 32 bytes in base64; make one with `openssl rand -base64 32`";
        Err(Misfit::Because(reason.to_owned()))
    }
}

/// A private key that signs.
pub(in crate::config) struct SigningKey;

impl Scalar for SigningKey {
    type Value = Secret;

    fn noun() -> String {
        "the path of a file with a private key in PEM, or `env:NAME`".to_owned()
    }

    fn example() -> &'static str {
        "signing.key"
    }

    fn parse(text: &str, reading: &Reading<'_>) -> Result<Secret, Misfit> {
        let secret = secret(text, reading)?;
        let selector = Selector::parse("any").map_err(|_| Misfit::Form)?;
        match Signer::read(selector, secret.reveal()) {
            Ok(_) => Ok(secret),
            Err(fault) => {
                let reason = format!("{fault}; make one with `amtpd key generate`");
                Err(Misfit::Because(reason))
            }
        }
    }
}

pub(super) fn secret(text: &str, reading: &Reading<'_>) -> Result<Secret, Misfit> {
    if let Some(name) = text.strip_prefix("env:") {
        return match reading.environment().find(name) {
            Some(value) => Ok(Secret::new(value.to_owned())),
            None => Err(Misfit::Because(format!(
                "names {name:?}, which is not set in the environment"
            ))),
        };
    }
    let path = path(text.strip_prefix("file:").unwrap_or(text), reading)?;
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Secret::of_file(text, path)),
        Err(error) => Err(unreadable(&path, &error)),
    }
}

/// The database: a `sqlite:///path` URL, a `postgres://` URL, or where a secret one is kept.
pub(in crate::config) struct DatabaseUrl;

impl Scalar for DatabaseUrl {
    type Value = Database;

    fn noun() -> String {
        "`sqlite://` and an absolute path, or a `postgres://` URL, or `file:PATH` or `env:NAME` that holds one"
            .to_owned()
    }

    fn example() -> &'static str {
        "sqlite:///var/lib/amtpd/amtpd.db"
    }

    fn parse(text: &str, reading: &Reading<'_>) -> Result<Database, Misfit> {
        let url = if text.starts_with("file:") || text.starts_with("env:") {
            secret(text, reading)?
        } else {
            Secret::new(text.to_owned())
        };
        if ["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| url.reveal().starts_with(scheme))
        {
            return match PostgresUrl::parse(url) {
                Ok(url) => Ok(Database::Postgres(url)),
                // What is wrong may be near the password.
                Err(reason) => Err(Misfit::Unshown(reason)),
            };
        }
        sqlite(url.reveal()).map(Database::Sqlite)
    }
}

fn sqlite(text: &str) -> Result<PathBuf, Misfit> {
    let path = text.strip_prefix("sqlite://").map(Path::new);
    let fits =
        |path: &&Path| path.is_absolute() && path.file_name().is_some() && !text.contains('?');
    let path = path.filter(fits).ok_or(Misfit::Form)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    if path.is_dir() {
        return Err(Misfit::Because(
            "is a directory; name a file in it".to_owned(),
        ));
    }
    if !folder.is_dir() {
        let reason = format!(
            "lies in {}, which is no directory; make it",
            folder.display()
        );
        return Err(Misfit::Because(reason));
    }
    Ok(path.to_owned())
}

/// Relative paths start at the file's folder; systemd's folder of credentials may stand first.
fn path(text: &str, reading: &Reading<'_>) -> Result<PathBuf, Misfit> {
    const NAME: &str = "CREDENTIALS_DIRECTORY";
    let forms = [format!("${{{NAME}}}/"), format!("${NAME}/")];
    let credential = forms
        .iter()
        .find_map(|form| text.strip_prefix(form.as_str()));
    match (credential, reading.environment().find(NAME)) {
        (Some(rest), Some(folder)) => Ok(Path::new(folder).join(rest)),
        (Some(_), None) => Err(Misfit::Because(format!(
            "needs {NAME}, which systemd sets for services with LoadCredential="
        ))),
        (None, _) if text.is_empty() => Err(Misfit::Form),
        (None, _) => Ok(reading.folder().join(text)),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Misfit {
    let reason = match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file",
        std::io::ErrorKind::PermissionDenied => {
            "permission denied; let the user that runs amtpd read it"
        }
        std::io::ErrorKind::InvalidData => "it is not text",
        _ => return Misfit::Because(format!("cannot be read: {}: {error}", path.display())),
    };
    Misfit::Because(format!("cannot be read: {}: {reason}", path.display()))
}
