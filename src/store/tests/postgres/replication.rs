//! Standbys: a copy of a cluster that follows it, and takes its place.

use super::{Cluster, Place, append, installation};

impl Cluster {
    /// A standby that has all this cluster has. From now on a commit waits for it
    /// (`synchronous_standby_names`).
    pub(crate) fn standby(&self, place: Place) -> Self {
        let standby = self.asynchronous_standby(place);
        self.set("synchronous_standby_names", "*");
        self.wait_until("the standby is synchronous", || {
            let sql = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
            self.query(sql) != "0"
        });
        standby
    }

    /// The same, and no commit waits for it.
    pub(crate) fn asynchronous_standby(&self, place: Place) -> Self {
        let standby = Self::empty(place);
        let mut backup = installation::program(&[], "pg_basebackup");
        backup
            .args(["-U", "postgres", "-X", "stream", "-c", "fast", "--no-sync"])
            .args(["-p", &self.place.socket().port().to_string(), "-h"])
            .arg(&self.folder)
            .arg("-D")
            .arg(standby.data());
        installation::succeed(&mut backup);
        let source = self.place.socket();
        append(
            &standby.data().join("postgresql.auto.conf"),
            &format!(
                "primary_conninfo = 'host={} port={} user=postgres application_name=standby \
                 keepalives_idle=1 keepalives_interval=1 keepalives_count=3'\n",
                source.ip(),
                source.port()
            ),
        );
        std::fs::write(standby.data().join("standby.signal"), "").unwrap();
        standby.start();
        standby
    }

    /// Makes a standby the primary.
    pub(crate) fn promote(&self) {
        assert_eq!(self.query("SELECT pg_promote(true, 60)"), "t");
        self.wait_until("it takes writes", || !self.is_standby());
    }

    /// Whether it follows another.
    pub(crate) fn is_standby(&self) -> bool {
        self.query("SELECT pg_is_in_recovery()") == "t"
    }
}
