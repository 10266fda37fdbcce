//! A disk that fails or is slow when a test says so, for a program that runs as its own process.
//!
//! A small library (`failing_disk.c`) is loaded into the program before the system's own and
//! answers for the files whose path begins with a prefix.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::words;

/// What an operation answers instead of doing its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The device failed (`EIO`).
    Io = 5,
    /// The device is full (`ENOSPC`).
    Full = 28,
}

/// A disk for one program. All is well at first.
pub struct FailingDisk {
    folder: TempDir,
    control: File,
    prefix: String,
}

const SYNC: u64 = 0;
const WRITE: u64 = 2;
const DELAY: u64 = 4;
const SEEN: u64 = 5;
const FAILED: u64 = 6;
const REMEMBER: u64 = 7;
const POWER: u64 = 8;
const NUMBERS: usize = 9;

/// What a power failure takes of that which was written and not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    All = 1,
    /// What came to the disk late.
    LaterHalf = 2,
}

impl FailingDisk {
    /// A disk for the files whose path begins like this.
    pub fn new(prefix: impl Into<String>) -> Self {
        let folder = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir()
            .unwrap();
        let built = Command::new("cc")
            .args([
                "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o",
            ])
            .arg(folder.path().join("failing_disk.so"))
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/it/support/failing_disk.c"
            ))
            .arg("-ldl")
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", words(&built));
        let control = folder.path().join("control");
        std::fs::write(&control, [0; NUMBERS * 4]).unwrap();
        // Any user may be the program's.
        let anybody = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(&control, anybody).unwrap();
        Self {
            control: File::options()
                .read(true)
                .write(true)
                .open(control)
                .unwrap(),
            prefix: prefix.into(),
            folder,
        }
    }

    /// What puts a program on this disk.
    pub fn variables(&self) -> [(String, String); 3] {
        let file = |name| shown(self.folder.path().join(name));
        [
            ("LD_PRELOAD".to_owned(), file("failing_disk.so")),
            ("FAILING_DISK_CONTROL".to_owned(), file("control")),
            ("FAILING_DISK_PREFIX".to_owned(), self.prefix.clone()),
        ]
    }

    /// From now on no sync succeeds.
    pub fn fail_syncs(&self, fault: Fault) {
        self.fail(SYNC, fault, u32::MAX);
    }

    /// The next sync fails, those after it succeed, as if nothing had been.
    pub fn fail_one_sync(&self, fault: Fault) {
        self.fail(SYNC, fault, 1);
    }

    /// From now on no write succeeds.
    pub fn fail_writes(&self, fault: Fault) {
        self.fail(WRITE, fault, u32::MAX);
    }

    /// The next write fails, those after it succeed.
    pub fn fail_one_write(&self, fault: Fault) {
        self.fail(WRITE, fault, 1);
    }

    /// From now on the disk knows what is not synced: a sync that fails loses it, and so does a
    /// power failure. Only for programs of one process.
    pub fn lose_what_is_not_synced(&self) {
        self.put(REMEMBER, 1);
    }

    /// The program ends at its next access to the disk, as by a power failure.
    pub fn fail_power(&self, loss: Loss) {
        self.put(POWER, loss as u32);
    }

    /// All is well again.
    pub fn heal(&self) {
        self.fail(SYNC, Fault::Io, 0);
        self.fail(WRITE, Fault::Io, 0);
        self.put(POWER, 0);
    }

    /// From now on each sync takes so much longer.
    pub fn delay_syncs(&self, by: Duration) {
        self.put(DELAY, u32::try_from(by.as_millis()).unwrap());
    }

    /// How many syncs there were so far.
    pub fn syncs(&self) -> u32 {
        self.get(SEEN)
    }

    /// How many operations failed so far.
    pub fn failures(&self) -> u32 {
        self.get(FAILED)
    }

    fn fail(&self, what: u64, fault: Fault, times: u32) {
        self.put(what + 1, 0);
        self.put(what, fault as u32);
        self.put(what + 1, times);
    }

    fn put(&self, number: u64, value: u32) {
        self.control
            .write_all_at(&value.to_ne_bytes(), number * 4)
            .unwrap();
    }

    fn get(&self, number: u64) -> u32 {
        let mut bytes = [0; 4];
        self.control.read_exact_at(&mut bytes, number * 4).unwrap();
        u32::from_ne_bytes(bytes)
    }
}

fn shown(path: PathBuf) -> String {
    path.to_string_lossy().into_owned()
}
