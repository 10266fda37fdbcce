//! The PostgreSQL of this machine: its programs, and the user they run as.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The folder of the programs. Debian does not put it on the path.
static PROGRAMS: LazyLock<PathBuf> = LazyLock::new(|| {
    let told = Command::new("pg_config").arg("--bindir").output();
    let told = told.map(|it| PathBuf::from(String::from_utf8_lossy(&it.stdout).trim()));
    told.into_iter()
        .chain(debian())
        .find(|folder| folder.join("initdb").exists())
        .expect("PostgreSQL is installed (Debian: package postgresql)")
});

/// User and group PostgreSQL runs as when this process is root.
static OTHER: LazyLock<Option<(u32, u32)>> = LazyLock::new(|| {
    (id("-u", None) == Some(0)).then(|| {
        let of_postgres = |what| id(what, Some("postgres"));
        let both = of_postgres("-u").zip(of_postgres("-g"));
        both.expect("there is a user postgres for tests that run as root")
    })
});

/// The versions Debian has installed, the newest first.
fn debian() -> Vec<PathBuf> {
    let mut versions: Vec<u32> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    let folder = |version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin"));
    versions.into_iter().map(folder).collect()
}

fn id(what: &str, user: Option<&str>) -> Option<u32> {
    let output = Command::new("id").arg(what).args(user).output().ok()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

/// A program of PostgreSQL as this process's own user.
pub(super) fn plain(name: &str) -> Command {
    Command::new(PROGRAMS.join(name))
}

/// A program of PostgreSQL as a user it accepts, with other programs before it. It is the child
/// itself, so that signals reach it.
pub(super) fn program(under: &[String], name: &str) -> Command {
    let mut words = under.to_vec();
    if let Some((user, group)) = *OTHER {
        words.push("setpriv".to_owned());
        words.extend([format!("--reuid={user}"), format!("--regid={group}")]);
        words.push("--clear-groups".to_owned());
    }
    words.push(PROGRAMS.join(name).to_string_lossy().into_owned());
    let mut command = Command::new(&words[0]);
    // Its own folder may be closed to that user.
    command.args(&words[1..]).current_dir("/");
    command
}

/// A folder for a cluster, which nobody removes by itself.
pub(super) fn folder() -> PathBuf {
    let folder = tempfile::Builder::new()
        .prefix("amtpd-postgres-")
        .tempdir()
        .unwrap()
        .keep()
        .canonicalize()
        .unwrap();
    let data = folder.join("data");
    std::fs::create_dir(&data).unwrap();
    // The user can pass through the outer one, and owns both.
    open_to(&folder, 0o755);
    open_to(&data, 0o700);
    folder
}

fn open_to(folder: &Path, mode: u32) {
    std::fs::set_permissions(folder, Permissions::from_mode(mode)).unwrap();
    if let Some((user, group)) = *OTHER {
        chown(folder, Some(user), Some(group)).unwrap();
    }
}

/// Runs a command that has to succeed.
pub(super) fn succeed(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
