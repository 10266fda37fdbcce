//! A PostgreSQL server of its own, thrown away afterwards. It keeps its promises: `fsync` and
//! `synchronous_commit` are on.

use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use crate::clock::pause;
use crate::daemon::run;
use crate::process::Process;

const USER: &str = "postgres";
const DATABASE: &str = "amtpd";
const SETTINGS: [&str; 7] = [
    "fsync=on",
    "synchronous_commit=on",
    "full_page_writes=on",
    "shared_buffers=512MB",
    "max_wal_size=4GB",
    "max_connections=100",
    "listen_addresses=127.0.0.1",
];

/// A running server with an empty database. It ends with this value, and so do its files.
pub(crate) struct Cluster {
    folder: TempDir,
    process: Child,
    port: u16,
}

impl Cluster {
    /// Makes one and starts it. Where this program is root, the server is the user `postgres`,
    /// because PostgreSQL refuses to be root.
    pub(crate) async fn start() -> Result<Self> {
        let programs = programs()?;
        let folder = tempfile::tempdir()?;
        if is_root()? {
            run(Command::new("chown").arg(USER).arg(folder.path()))
                .context("there must be a user postgres, because PostgreSQL refuses to be root")?;
        }
        let data = folder.path().join("data");
        run(command(&programs.join("initdb"))?
            .args(["-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C", "-D"])
            .arg(&data))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut server = command(&programs.join("postgres"))?;
        server.arg("-D").arg(&data).arg("-k").arg(folder.path());
        server.args(["-p", &port.to_string()]);
        for setting in SETTINGS {
            server.args(["-c", setting]);
        }
        let log = std::fs::File::create(folder.path().join("log"))?;
        let process = server
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        let mut cluster = Self {
            folder,
            process,
            port,
        };
        cluster.ready(&programs).await?;
        Ok(cluster)
    }

    async fn ready(&mut self, programs: &Path) -> Result<()> {
        let port = self.port.to_string();
        let create = || {
            let mut create = Command::new(programs.join("createdb"));
            create.args(["-h", "127.0.0.1", "-p", &port, "-U", USER, DATABASE]);
            create.output()
        };
        for _ in 0..200 {
            if create()?.status.success() {
                return Ok(());
            }
            if self.process.try_wait()?.is_some() {
                break;
            }
            pause(50).await;
        }
        let log = std::fs::read_to_string(self.folder.path().join("log"))?;
        bail!("PostgreSQL does not start: {}", log.trim())
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{DATABASE}", self.port)
    }

    /// Bytes that its processes have written to disk so far, those that live still.
    pub(crate) fn written(&self) -> Result<u64> {
        let mut written = 0;
        for process in Process::new(self.process.id()).family()? {
            // One may end meanwhile.
            written += process.usage().map_or(0, |usage| usage.written);
        }
        Ok(written)
    }

    /// Ends it in order.
    pub(crate) async fn stop(mut self) -> Result<()> {
        interrupt(&self.process)?;
        for _ in 0..600 {
            if self.process.try_wait()?.is_some() {
                return Ok(());
            }
            pause(50).await;
        }
        bail!("PostgreSQL does not end")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A server that is killed leaves its shared memory behind; one that is asked to quit does not.
        if matches!(self.process.try_wait(), Ok(None)) {
            let number = self.process.id().to_string();
            drop(Command::new("kill").args(["-QUIT", &number]).output());
            drop(self.process.wait());
        }
    }
}

fn interrupt(process: &Child) -> Result<()> {
    run(Command::new("kill").args(["-INT", &process.id().to_string()]))?;
    Ok(())
}

/// Where the server's programs are.
fn programs() -> Result<PathBuf> {
    let said = Command::new("pg_config").arg("--bindir").output();
    let mut places: Vec<PathBuf> = said
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().into())
        .into_iter()
        .collect();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        places.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    let found = places.iter().find(|place| place.join("initdb").exists());
    found
        .cloned()
        .context("PostgreSQL's server is not installed (initdb is not found)")
}

fn is_root() -> Result<bool> {
    Ok(std::fs::metadata("/proc/self")?.uid() == 0)
}

/// A command as the server's user.
fn command(program: &Path) -> Result<Command> {
    ensure!(program.exists(), "{} is not there", program.display());
    if !is_root()? {
        return Ok(Command::new(program));
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", USER, "--regid", USER, "--init-groups"])
        .arg(program)
        .current_dir("/");
    Ok(command)
}
