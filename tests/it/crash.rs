//! A gateway killed at random moments keeps every promise it made.

use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::{Agent, Daemon, pause};

const SENDERS: usize = 8;
const RECIPIENTS: usize = 4;

/// One sender and one recipient: what was promised, and what hangs in the air.
#[derive(Debug, Clone)]
struct Pair {
    from: Agent,
    to: Agent,
    /// Messages that got a 202.
    promised: u64,
}

/// Sends one message after the other until the gateway is gone. A message without an answer is sent
/// again in the next round under its old key.
async fn talk(daemon: Arc<Daemon>, mut pair: Pair) -> Pair {
    loop {
        let body = json!({
            "sender": pair.from.address,
            "recipients": [pair.to.address],
            "idempotency_key": format!("{}-{}-{}", pair.from.address, pair.to.address, pair.promised),
            "payload": pair.promised,
        });
        match daemon
            .try_call(
                Method::POST,
                "/v1/messages",
                Some(&pair.from.key),
                Some(body),
            )
            .await
        {
            Ok((StatusCode::ACCEPTED, _)) => pair.promised += 1,
            Ok((StatusCode::SERVICE_UNAVAILABLE, _)) | Err(_) => return pair,
            Ok((status, answer)) => panic!("{status} {answer}"),
        }
    }
}

/// From 10 to 265 milliseconds.
fn some_time() -> Duration {
    Duration::from_millis(10 + u64::from(Uuid::new_v4().as_bytes()[0]))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_got_a_202_survives_kill_9_exactly_once_and_in_order() {
    let rounds: usize = kills();
    let mut daemon = Daemon::start(&[("AMTPD__LOG__LEVEL", "warn")]).await;
    let mut recipients = Vec::new();
    for n in 0..RECIPIENTS {
        recipients.push(daemon.agent(&format!("to-{n}")).await);
    }
    let mut pairs = Vec::new();
    for n in 0..SENDERS {
        let from = daemon.agent(&format!("from-{n}")).await;
        pairs.extend(recipients.iter().map(|to| Pair {
            from: from.clone(),
            to: to.clone(),
            promised: 0,
        }));
    }
    for _ in 0..rounds {
        let shared = Arc::new(daemon);
        let mut talking = JoinSet::new();
        for pair in pairs.drain(..) {
            talking.spawn(talk(shared.clone(), pair));
        }
        pause(some_time()).await;
        shared.kill_from_afar();
        pairs = talking.join_all().await;
        daemon = Arc::into_inner(shared).expect("nobody talks any more");
        daemon.kill();
        daemon.run().await;
    }
    let promised: u64 = pairs.iter().map(|pair| pair.promised).sum();
    assert!(promised > 0, "nothing was accepted at all");
    for to in &recipients {
        let mail = daemon.inbox(to).await;
        for pair in pairs.iter().filter(|pair| pair.to.address == to.address) {
            let got: Vec<u64> = mail
                .iter()
                .filter(|message| message["sender"] == pair.from.address.as_str())
                .map(|message| message["payload"].as_u64().unwrap())
                .collect();
            let kept: Vec<u64> = (0..pair.promised).collect();
            // The last message may have been written without its answer coming through.
            let and_one: Vec<u64> = (0..=pair.promised).collect();
            assert!(
                got == kept || got == and_one,
                "{} to {}: {got:?}",
                pair.from.address,
                to.address
            );
        }
    }
    report(&format!(
        "{promised} messages promised over {rounds} kills, all kept"
    ));
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
