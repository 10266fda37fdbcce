//! The folder of a quickstart: whose it is, and what is in it.
//!
//! - A file marks it. A folder that has other things in it and no mark is never touched.
//! - `--clean` removes what a quickstart writes, nothing else.
//! - One quickstart at a time: the mark is locked as long as this lives.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::ports::Ports;

const MARK: &str = "amtpd-quickstart.json";
const ABOUT: &str =
    "made by `amtpd quickstart`; with --clean it removes what it wrote into this folder";

/// Everything a quickstart writes beside the mark.
const OURS: [&str; 6] = [
    "alpha.test",
    "beta.test",
    "agents",
    "mail",
    "ca.pem",
    "amtpd.log",
];

/// Who may read a file.
#[derive(Debug, Clone, Copy)]
pub(super) enum Readers {
    All,
    Owner,
}

/// What the mark says.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    about: String,
    ports: Ports,
}

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    mark: File,
    ports: Ports,
}

impl Folder {
    /// Opens a folder, a new one or that of an earlier quickstart.
    ///
    /// # Errors
    /// It is somebody else's, or in use, or its name cannot be used.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path)?;
        let name = path
            .to_str()
            .context("the folder's name is not UTF-8; name another with --dir")?;
        if name.contains('?') {
            bail!("the folder's name has a '?'; name another with --dir");
        }
        make(&path)?;
        let at = || format!("cannot use {name}");
        let known = path.join(MARK).symlink_metadata().is_ok();
        if !known && fs::read_dir(&path).with_context(at)?.next().is_some() {
            bail!(
                "{name} is not a quickstart's folder: there are files in it, and no {MARK}. \
                 Nothing was touched; name another with --dir"
            );
        }
        let mut mark = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(path.join(MARK))
            .with_context(at)?;
        match mark.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("another quickstart runs in {name}; stop it, or name another with --dir")
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(at),
        }
        let ports = ports_of(&mut mark)
            .with_context(|| format!("{name}/{MARK} is no mark of a quickstart"))?;
        Ok(Self { path, mark, ports })
    }

    /// Removes everything a quickstart wrote.
    pub(super) fn clean(&mut self) -> Result<()> {
        for name in OURS {
            let path = self.path.join(name);
            let removed = match path.symlink_metadata() {
                Ok(found) if found.is_dir() => fs::remove_dir_all(&path),
                Ok(_) => fs::remove_file(&path),
                Err(_) => Ok(()),
            };
            removed.with_context(|| format!("cannot remove {}", path.display()))?;
        }
        self.ports = Ports::default();
        Ok(())
    }

    /// The ports of the last time.
    pub(super) fn ports(&self) -> Ports {
        self.ports
    }

    /// Remembers the ports for the next time.
    pub(super) fn keep(&mut self, ports: Ports) -> Result<()> {
        let about = ABOUT.to_owned();
        let text = serde_json::to_string_pretty(&Mark { about, ports })? + "\n";
        self.mark.rewind()?;
        self.mark.write_all(text.as_bytes())?;
        self.mark.set_len(text.len().try_into()?)?;
        self.ports = ports;
        Ok(())
    }

    /// Its path, absolute and UTF-8.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A folder inside.
    pub(super) fn inside(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        make(&path)?;
        Ok(path)
    }

    /// Writes a file anew, with the folders above it.
    pub(super) fn write(&self, name: &str, readers: Readers, text: &str) -> Result<()> {
        let path = self.path.join(name);
        let failed = || format!("cannot write {}", path.display());
        make(path.parent().unwrap_or(&self.path))?;
        let mut file = replace(&path, readers).with_context(failed)?;
        file.write_all(text.as_bytes()).with_context(failed)
    }

    /// An empty file in the place of what was there.
    pub(super) fn fresh(&self, name: &str) -> Result<File> {
        let path = self.path.join(name);
        replace(&path, Readers::Owner).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The text of a file without blanks around it, if there is one.
    pub(super) fn find(&self, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.path.join(name)).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// A secret of an earlier time, or a new one.
    pub(super) fn secret(&self, name: &str, make: impl FnOnce() -> String) -> Result<String> {
        if let Some(known) = self.find(name) {
            return Ok(known);
        }
        let secret = make();
        self.write(name, Readers::Owner, &format!("{secret}\n"))?;
        Ok(secret)
    }
}

/// A new mark is empty.
fn ports_of(mark: &mut File) -> Result<Ports> {
    let mut text = String::new();
    mark.read_to_string(&mut text)?;
    if text.is_empty() {
        return Ok(Ports::default());
    }
    Ok(serde_json::from_str::<Mark>(&text)?.ports)
}

/// A file that is new, so that nobody has it open and its mode is as asked.
fn replace(path: &Path, readers: Readers) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mode = match readers {
        Readers::All => 0o644,
        Readers::Owner => 0o600,
    };
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode).open(path)
}

/// A folder with those above it; new ones are their owner's only.
fn make(path: &Path) -> Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder
        .create(path)
        .with_context(|| format!("cannot make {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn fault(path: &Path) -> String {
        Folder::open(path).unwrap_err().to_string()
    }

    #[test]
    fn a_folder_without_the_mark_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.txt"), "years of work").unwrap();
        assert!(fault(dir.path()).contains("is not a quickstart's folder"));
        fs::write(dir.path().join(MARK), "mine").unwrap();
        assert!(fault(dir.path()).contains("is no mark of a quickstart"));
        let left = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, 2);
    }

    #[test]
    fn cleaning_removes_only_what_a_quickstart_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new");
        let mut folder = Folder::open(&path).unwrap();
        folder
            .write("alpha.test/tls/key.pem", Readers::Owner, "k")
            .unwrap();
        folder.write("ca.pem", Readers::All, "c").unwrap();
        fs::write(path.join("notes.txt"), "mine").unwrap();
        folder.clean().unwrap();
        let mut left: Vec<_> = fs::read_dir(&path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, [MARK, "notes.txt"]);
    }

    #[test]
    fn a_second_quickstart_is_refused_and_a_later_one_finds_secrets_and_ports() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(dir.path()).unwrap();
        let ports = Ports {
            dns: 5353,
            ..Ports::default()
        };
        folder.keep(ports).unwrap();
        let made = folder.secret("agents/alice.key", || "ak_1".to_owned());
        assert_eq!(made.unwrap(), "ak_1");
        assert!(fault(dir.path()).contains("another quickstart runs in"));
        drop(folder);
        let folder = Folder::open(dir.path()).unwrap();
        assert_eq!(folder.ports(), ports);
        let kept = folder.secret("agents/alice.key", || "ak_2".to_owned());
        assert_eq!(kept.unwrap(), "ak_1");
        let mode = |name| {
            let found = fs::metadata(dir.path().join(name)).unwrap();
            found.permissions().mode() & 0o777
        };
        assert_eq!((mode("agents"), mode("agents/alice.key")), (0o700, 0o600));
    }
}
