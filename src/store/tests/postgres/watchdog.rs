//! Ends a cluster with its test, however that ends.
//!
//! A shell waits on a pipe whose other end this process alone holds. When that is closed, by the
//! end of the test or by that of the process, it ends what works in the cluster's folder, and
//! removes the folder.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// First as `pg_ctl stop -m immediate` does, which leaves no shared memory behind.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
cd /
read -r _
those() { find /proc -mindepth 2 -maxdepth 2 -name cwd -lname "$1/data" -printf '%h\n' 2>/dev/null | sed 's|/proc/||'; }
tries=0
signal=QUIT
while pids=$(those "$1"); [ -n "$pids" ]; do
    kill -s "$signal" $pids 2>/dev/null
    sleep 0.05
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] || signal=KILL
done
rm -rf "$1"
"#;

pub(super) struct Watchdog(Child);

impl Watchdog {
    /// Watches over a folder from now on.
    pub(super) fn new(folder: &Path) -> Self {
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "watchdog"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        Self(shell)
    }

    /// Lets it do its work, and waits for it.
    pub(super) fn release(&mut self) {
        drop(self.0.stdin.take());
        drop(self.0.wait());
    }
}
