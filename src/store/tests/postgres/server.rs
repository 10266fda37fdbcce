//! The server of a cluster: its start, its end in order and otherwise, and what it refuses.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{Cluster, ROLE, installation, lock};

/// The time a server may take to start; after a crash it reads its log again first.
const PATIENCE: Duration = Duration::from_secs(90);
const STEP: Duration = Duration::from_millis(10);

impl Cluster {
    /// Starts the server and waits until it answers.
    pub(crate) fn start(&self) {
        self.launch();
        self.wait_until("the server answers", || {
            let mut ready = installation::plain("pg_isready");
            ready.arg("-q").arg("-h").arg(&self.folder);
            ready.args(["-p", &self.place.socket().port().to_string()]);
            self.assert_alive();
            ready.status().is_ok_and(|status| status.success())
        });
    }

    /// Waits until a server in trouble answers again; starts it where it gave up.
    pub(crate) fn recover(&self) {
        self.wait_until("the server answers again", || {
            if !self.runs() {
                self.bury();
                self.launch();
            }
            self.ask("postgres", "SELECT 1").is_ok()
        });
    }

    /// Starts the server.
    pub(crate) fn launch(&self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
            .unwrap();
        let socket = self.place.socket();
        let mut command = installation::program(self.place.words(), "postgres");
        let mut set = |name: &str, value: &str| {
            command.args(["-c", &format!("{name}={value}")]);
        };
        set("listen_addresses", &socket.ip().to_string());
        set("port", &socket.port().to_string());
        set("unix_socket_directories", &self.folder.to_string_lossy());
        command
            .arg("-D")
            .arg(self.data())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            // Not in the terminal's group: Ctrl-C is for the test.
            .process_group(0);
        let mut postmaster = lock(&self.postmaster);
        assert!(postmaster.is_none(), "it runs already");
        *postmaster = Some(command.spawn().unwrap());
    }

    /// Ends the server in good order, without waiting for its clients (`pg_ctl stop -m fast`).
    pub(crate) fn stop(&self) {
        self.signal("INT");
        self.bury();
    }

    /// Ends the server at once, without a checkpoint (`pg_ctl stop -m immediate`).
    pub(crate) fn stop_immediately(&self) {
        self.signal("QUIT");
        self.bury();
    }

    /// Ends the server and all its processes as a power failure would.
    pub(crate) fn kill(&self) {
        loop {
            let processes = self.processes();
            if processes.is_empty() {
                break;
            }
            let mut kill = Command::new("kill");
            kill.arg("-KILL")
                .args(processes.iter().map(u32::to_string))
                .stderr(Stdio::null());
            // One of them may have gone by itself.
            drop(kill.status());
            if let Some(postmaster) = lock(&self.postmaster).as_mut() {
                drop(postmaster.wait());
            }
        }
        self.bury();
    }

    /// Ends the server in good order and starts it again.
    pub(crate) fn restart(&self) {
        self.stop();
        self.start();
    }

    /// Sets what a running server can change; for the rest a restart has to follow.
    pub(crate) fn set(&self, name: &str, value: &str) {
        self.query(&format!("ALTER SYSTEM SET {name} = '{value}'"));
        self.query("SELECT pg_reload_conf()");
        self.wait_until("the setting is read", || {
            let sql = format!(
                "SELECT setting = '{value}' OR pending_restart FROM pg_settings WHERE name = '{name}'"
            );
            self.query(&sql) == "t"
        });
    }

    /// From now on nobody may write, or may again; open connections too.
    pub(crate) fn set_read_only(&self, read_only: bool) {
        let value = if read_only { "on" } else { "off" };
        self.query(&format!(
            "ALTER SYSTEM SET default_transaction_read_only = {value}"
        ));
        self.query("SELECT pg_reload_conf()");
        self.wait_until("the setting is read", || {
            let sql =
                "SELECT reset_val FROM pg_settings WHERE name = 'default_transaction_read_only'";
            self.psql("postgres", sql, "").as_deref() == Ok(value)
        });
    }

    /// From now on the gateways together may open so many connections; those that are open stay.
    pub(crate) fn limit_connections(&self, most: u32) {
        self.query(&format!("ALTER ROLE {ROLE} CONNECTION LIMIT {most}"));
    }

    /// The same without a limit.
    pub(crate) fn free_connections(&self) {
        self.query(&format!("ALTER ROLE {ROLE} CONNECTION LIMIT -1"));
    }

    /// Breaks every connection of the gateways, and says how many there were.
    pub(crate) fn disconnect_all(&self) -> usize {
        let sql = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '{ROLE}'"
        );
        self.query(&sql).parse().unwrap()
    }

    /// Whether the server runs.
    pub(crate) fn runs(&self) -> bool {
        let mut postmaster = lock(&self.postmaster);
        postmaster
            .as_mut()
            .is_some_and(|it| it.try_wait().unwrap().is_none())
    }

    fn assert_alive(&self) {
        assert!(self.runs(), "PostgreSQL ended: {}", self.log());
    }

    pub(super) fn wait_until(&self, what: &str, mut probe: impl FnMut() -> bool) {
        let mut waited = Duration::ZERO;
        while !probe() {
            assert!(waited < PATIENCE, "waited for: {what}\n{}", self.log());
            std::thread::sleep(STEP);
            waited += STEP;
        }
    }

    fn signal(&self, name: &str) {
        let postmaster = lock(&self.postmaster);
        let id = postmaster.as_ref().expect("it runs").id();
        let done = Command::new("kill")
            .args(["-s", name, &id.to_string()])
            .status()
            .unwrap();
        assert!(done.success());
    }

    /// Waits for the end of the server, and of what it leaves behind.
    fn bury(&self) {
        if let Some(mut postmaster) = lock(&self.postmaster).take() {
            postmaster.wait().unwrap();
        }
        self.wait_until("its processes end", || self.processes().is_empty());
    }

    /// All processes of the server: they work in its folder.
    fn processes(&self) -> Vec<u32> {
        let data = self.data();
        let here = |process: PathBuf| {
            let folder = std::fs::read_link(process.join("cwd")).ok()?;
            let id = process.file_name()?.to_str()?.parse().ok()?;
            (folder == data).then_some(id)
        };
        std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| here(entry.ok()?.path()))
            .collect()
    }
}
