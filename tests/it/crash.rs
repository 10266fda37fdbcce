//! A gateway, or its database, killed at random moments under load keeps every promise it made.

use std::time::Duration;

use uuid::Uuid;

use crate::support::audit::Audit;
use crate::support::backend::{Backend, Base};
use crate::support::promises::{Load, pairs};
use crate::support::{Agent, Daemon, pause};

const SENDERS: usize = 8;
const RECIPIENTS: usize = 4;

/// What is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Gateway,
    Database,
}

/// From 10 to 265 milliseconds.
fn some_time() -> Duration {
    Duration::from_millis(10 + u64::from(Uuid::new_v4().as_bytes()[0]))
}

async fn agents(daemon: &Daemon, kind: &str, count: usize) -> Vec<Agent> {
    let mut agents = Vec::new();
    for n in 0..count {
        agents.push(daemon.agent(&format!("{kind}-{n}")).await);
    }
    agents
}

async fn strike(victim: Victim, daemon: &mut Daemon, base: &Base, round: usize) {
    match victim {
        Victim::Gateway => {
            base.end(daemon, round);
            base.heal();
            daemon.run().await;
        }
        Victim::Database => {
            let cluster = base.cluster();
            match round % 2 {
                0 => cluster.kill(),
                _ => cluster.stop_immediately(),
            }
            pause(some_time()).await;
            cluster.start();
        }
    }
}

/// Kills again and again, and looks each time whether all is there.
async fn survive(backend: Backend, victim: Victim, rounds: usize) {
    let (mut daemon, base) = backend.prepare(&[("AMTPD__LOG__LEVEL", "warn")]);
    daemon.run().await;
    let senders = agents(&daemon, "from", SENDERS).await;
    let recipients = agents(&daemon, "to", RECIPIENTS).await;
    let caller = daemon.caller();
    let load = Load::start(std::slice::from_ref(&caller), pairs(&senders, &recipients));
    let ledger = load.ledger();
    let mut audit = Audit::new(ledger.clone(), &recipients);
    for round in 0..rounds {
        ledger.more_promises(1).await;
        let (moment, acknowledging) = (pause(some_time()), audit.acknowledge(&caller));
        tokio::select! {
            () = moment => {}
            () = async { acknowledging.await; std::future::pending().await } => {}
        }
        strike(victim, &mut daemon, &base, round).await;
        load.rest();
        audit.look(&caller).await;
        load.go_on();
    }
    ledger.more_promises(1).await;
    load.stop().await;
    let kept = audit.close(&caller).await;
    report(&format!(
        "{backend:?}, {victim:?} killed {rounds} times: {kept} messages promised, all kept; {} \
         refused, {} without an answer",
        ledger.refused(),
        ledger.unanswered()
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_keeps_every_promise_in_a_file() {
    survive(Backend::Sqlite, Victim::Gateway, kills()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_keeps_every_promise_in_postgresql() {
    survive(Backend::Postgres, Victim::Gateway, kills()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_database_loses_no_promise() {
    survive(Backend::Postgres, Victim::Database, kills().div_ceil(6)).await;
}

/// How many times the gateway is killed.
pub fn kills() -> usize {
    #[allow(
        clippy::disallowed_methods,
        reason = "how long the test command wants this to run"
    )]
    let rounds = std::env::var("AMTPD_TEST_CRASH_ROUNDS");
    rounds
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(8)
}

#[allow(
    clippy::print_stdout,
    reason = "the number of a long run is worth a line"
)]
pub fn report(line: &str) {
    println!("{line}");
}
