//! A disk that can be filled.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::words;

/// A file system of 32 MiB in memory; mounting one takes root, as the test command has it.
pub struct SmallDisk(TempDir);

impl SmallDisk {
    pub fn mount() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=32m", "amtpd-test"])
            .arg(folder.path())
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "cannot mount a small disk (run as root): {}",
            words(&done)
        );
        Self(folder)
    }

    pub fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    /// A file on it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Takes all the room that is left.
    pub fn fill(&self, file: &Path) {
        let mut file = File::create(file).unwrap();
        let mut piece = 1024 * 1024;
        while piece >= 4096 {
            if file.write_all(&vec![0; piece]).is_err() {
                piece /= 2;
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the gateway may still hold its files for a moment.
        drop(Command::new("umount").arg("-l").arg(self.0.path()).status());
    }
}
