//! A disk that is full, fails or is slow: what got a 202 is kept, whatever the disk does.

use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::json;

use crate::support::audit::Audit;
use crate::support::backend::{Backend, Base};
use crate::support::caller::Caller;
use crate::support::failing_disk::{FailingDisk, Fault};
use crate::support::postgres::{Cluster, Place};
use crate::support::promises::{Load, pairs};
use crate::support::small_disk::SmallDisk;
use crate::support::{Agent, Daemon, eventually, pause};

const SOON: Duration = Duration::from_secs(30);

/// A gateway with some agents on a disk of a test's own.
struct Bench {
    daemon: Daemon,
    disk: FailingDisk,
    caller: Caller,
    senders: Vec<Agent>,
    recipients: Vec<Agent>,
}

impl Bench {
    async fn new() -> Self {
        let (mut daemon, base) = Backend::Sqlite.prepare(&[("AMTPD__LOG__LEVEL", "warn")]);
        let Base::Sqlite(disk) = base else {
            unreachable!("asked for SQLite")
        };
        daemon.run().await;
        let mut agents = Vec::new();
        for name in ["one", "two", "three", "four", "five", "six"] {
            agents.push(daemon.agent(name).await);
        }
        Self {
            caller: daemon.caller(),
            recipients: agents.split_off(3),
            senders: agents,
            daemon,
            disk,
        }
    }

    fn load(&self) -> (Load, Audit) {
        let pairs = pairs(&self.senders, &self.recipients);
        let load = Load::start(std::slice::from_ref(&self.caller), pairs);
        let audit = Audit::new(load.ledger(), &self.recipients);
        (load, audit)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_what_was_promised_is_kept() {
    let mut bench = Bench::new().await;
    let (load, mut audit) = bench.load();
    let ledger = load.ledger();
    for _ in 0..3 {
        ledger.more_promises(100).await;
        bench.disk.fail_writes(Fault::Full);
        // What was on its way has its answer.
        ledger.more_refusals(20).await;
        let before = ledger.promised();
        ledger.more_refusals(60).await;
        assert_eq!(ledger.promised(), before, "a 202 without room");
        assert!(bench.disk.failures() > 0);
        assert!(bench.daemon.runs(), "a full disk is no reason to end");
        bench.disk.heal();
        ledger.more_promises(1).await;
        load.rest();
        audit.look(&bench.caller).await;
        load.go_on();
    }
    ledger.more_promises(100).await;
    bench.daemon.kill();
    bench.daemon.run().await;
    load.stop().await;
    audit.close(&bench.caller).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_ends_the_process_and_no_promise() {
    let faults = [
        FailingDisk::fail_syncs,
        FailingDisk::fail_one_sync,
        FailingDisk::fail_writes,
        FailingDisk::fail_one_write,
    ];
    let mut bench = Bench::new().await;
    let (load, mut audit) = bench.load();
    let ledger = load.ledger();
    for (n, fail) in faults.iter().enumerate() {
        ledger.more_promises(50).await;
        fail(&bench.disk, Fault::Io);
        let code = bench.daemon.wait();
        assert!(code.is_some_and(|code| code != 0), "fault {n}: {code:?}");
        bench.disk.heal();
        bench.daemon.run().await;
        load.rest();
        audit.look(&bench.caller).await;
        load.go_on();
    }
    load.stop().await;
    audit.close(&bench.caller).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_waits_for_the_disk() {
    const SLOW: Duration = Duration::from_millis(700);
    let bench = Bench::new().await;
    let (from, to) = (&bench.senders[0], &bench.recipients[0]);
    let body = json!({ "sender": from.address, "recipients": [to.address], "payload": 1 });
    bench.disk.delay_syncs(SLOW);
    let before = bench.disk.syncs();
    #[allow(clippy::disallowed_methods, reason = "a real disk takes real time")]
    let begun = std::time::Instant::now();
    let (status, _) = bench
        .daemon
        .call(Method::POST, "/v1/messages", Some(&from.key), Some(body))
        .await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert!(begun.elapsed() >= SLOW, "{:?}", begun.elapsed());
    assert!(bench.disk.syncs() > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_really_full_refuses_and_takes_again() {
    let disk = SmallDisk::mount();
    let url = format!("sqlite://{}/amtpd.db", disk.path());
    let mut daemon = Daemon::prepare(&[
        ("AMTPD__STORE__URL", &url),
        ("AMTPD__LOG__LEVEL", "warn"),
        // Below this the disk is watched, and nothing tried: here it is tried.
        ("AMTPD__LIMITS__MIN_FREE_DISK", "1"),
    ]);
    daemon.run().await;
    let (senders, recipients) = (
        [daemon.agent("one").await, daemon.agent("two").await],
        [daemon.agent("three").await, daemon.agent("four").await],
    );
    let caller = daemon.caller();
    let load = Load::start(std::slice::from_ref(&caller), pairs(&senders, &recipients));
    let ledger = load.ledger();
    let mut audit = Audit::new(ledger.clone(), &recipients);
    let filler = disk.file("filler");
    for _ in 0..3 {
        ledger.more_promises(50).await;
        disk.fill(&filler);
        ledger.more_refusals(20).await;
        assert!(daemon.runs(), "a full disk is no reason to end");
        std::fs::remove_file(&filler).unwrap();
        ledger.more_promises(1).await;
        load.rest();
        audit.look(&caller).await;
        load.go_on();
    }
    ledger.more_promises(50).await;
    daemon.kill();
    daemon.run().await;
    load.stop().await;
    audit.close(&caller).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_whose_disk_fails_or_is_full_loses_no_promise() {
    let folders = std::env::temp_dir().join("amtpd-postgres-");
    let disk = FailingDisk::new(folders.to_str().unwrap());
    let variables = disk
        .variables()
        .map(|(name, value)| format!("{name}={value}"));
    let mut under = vec!["env"];
    under.extend(variables.iter().map(String::as_str));
    let cluster = Cluster::at(Place::here().under(&under));
    let url = cluster.database();
    let mut daemon =
        Daemon::start(&[("AMTPD__STORE__URL", &url), ("AMTPD__LOG__LEVEL", "warn")]).await;
    let (senders, recipients) = (
        [daemon.agent("one").await, daemon.agent("two").await],
        [daemon.agent("three").await, daemon.agent("four").await],
    );
    let caller = daemon.caller();
    let load = Load::start(std::slice::from_ref(&caller), pairs(&senders, &recipients));
    let ledger = load.ledger();
    let mut audit = Audit::new(ledger.clone(), &recipients);
    let troubles: [&dyn Fn(); 4] = [
        &|| disk.fail_one_sync(Fault::Io),
        &|| disk.fail_one_write(Fault::Io),
        &|| disk.fail_syncs(Fault::Io),
        &|| disk.fail_writes(Fault::Full),
    ];
    for trouble in troubles {
        ledger.more_promises(50).await;
        let before = disk.failures();
        trouble();
        eventually("the disk fails", SOON, || {
            (disk.failures() > before).then_some(())
        })
        .await;
        pause(Duration::from_millis(500)).await;
        disk.heal();
        cluster.recover();
        ledger.more_promises(50).await;
        assert!(daemon.runs(), "the disk of another is no reason to end");
        load.rest();
        audit.look(&caller).await;
        load.go_on();
    }
    load.stop().await;
    audit.close(&caller).await;
}
