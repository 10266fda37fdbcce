//! The databases a gateway can stand on, as a parameter of tests.

use super::Daemon;
use super::failing_disk::{FailingDisk, Loss};
use super::postgres::Cluster;

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    Postgres,
}

/// The variable that names the database of a gateway.
pub const STORE_URL: &str = "AMTPD__STORE__URL";

/// The variable that gives a gateway a PostgreSQL database of its own, where the test command wants all
/// gateways on one that name no other: `AMTPD_TEST_DATABASE=postgres`.
pub fn wanted(variables: &[(&str, &str)]) -> Option<(String, String)> {
    #[allow(
        clippy::disallowed_methods,
        reason = "which database the test command wants"
    )]
    let wanted = std::env::var("AMTPD_TEST_DATABASE").is_ok_and(|name| name == "postgres");
    let named = variables.iter().any(|(name, _)| *name == STORE_URL);
    (wanted && !named).then(|| (STORE_URL.to_owned(), Cluster::shared().database()))
}

/// What a gateway stands on in one test.
pub enum Base {
    /// A file, on a disk that loses what was not synced when the test says so.
    Sqlite(FailingDisk),
    /// A server of its own.
    Postgres(Cluster),
}

impl Backend {
    /// A gateway that does not run yet, and what it stands on.
    pub fn prepare(self, variables: &[(&str, &str)]) -> (Daemon, Base) {
        match self {
            Self::Sqlite => {
                let mut daemon = Daemon::prepare(variables);
                let file = daemon.folder.path().join("gateway/data/amtpd.db");
                let disk = FailingDisk::new(file.to_str().unwrap());
                disk.lose_what_is_not_synced();
                daemon.variables.extend(disk.variables());
                (daemon, Base::Sqlite(disk))
            }
            Self::Postgres => {
                let cluster = Cluster::own();
                let url = cluster.database();
                let mut daemon = Daemon::prepare(variables);
                let variable = ("AMTPD__STORE__URL".to_owned(), url);
                daemon.variables.push(variable);
                (daemon, Base::Postgres(cluster))
            }
        }
    }
}

impl Base {
    /// Ends the gateway at a bad moment: killed, or where its disk is our own, by a power failure.
    pub fn end(&self, daemon: &mut Daemon, how: usize) {
        match (self, how % 3) {
            (Self::Sqlite(disk), 1) => disk.fail_power(Loss::All),
            (Self::Sqlite(disk), 2) => disk.fail_power(Loss::LaterHalf),
            _ => return daemon.kill(),
        }
        daemon.wait();
    }

    /// Makes it whole, for a new start.
    pub fn heal(&self) {
        if let Self::Sqlite(disk) = self {
            disk.heal();
        }
    }

    /// The server, where there is one.
    pub fn cluster(&self) -> &Cluster {
        match self {
            Self::Sqlite(_) => panic!("SQLite has no server"),
            Self::Postgres(cluster) => cluster,
        }
    }
}
