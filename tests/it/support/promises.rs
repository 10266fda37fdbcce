//! A client that notes every promise it is given.
//!
//! - Each pair of a sender and a recipient has one message in flight. What got no 202 is sent again
//!   under its key, at the next gateway in turn.
//! - A 202 is noted in a file, with the id, before the pair goes on.
//! - Some messages are tried once, as by a client that goes away. Without a 202 they are noted as
//!   given up: they may arrive once, or never, and their place in the order is open.
//! - A gateway that does not take a message says 503 with `Retry-After`, or nothing.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::background::lock;
use super::caller::Caller;
use super::{Agent, eventually, pause};

/// One message in so many is tried once.
const GIVEN_UP: u64 = 8;
const AGAIN: Duration = Duration::from_millis(20);

/// Who writes to whom.
#[derive(Debug, Clone)]
pub struct Pair {
    pub from: Agent,
    pub to: String,
}

/// Everybody writes to everybody of the others.
pub fn pairs(from: &[Agent], to: &[Agent]) -> Vec<Pair> {
    let pair = |from: &Agent, to: &Agent| Pair {
        from: from.clone(),
        to: to.address.clone(),
    };
    from.iter()
        .flat_map(|one| to.iter().map(move |other| pair(one, other)))
        .collect()
}

/// What is known of a message: its id when it was promised, none when it was given up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Note {
    pub from: String,
    pub to: String,
    pub number: u64,
    pub id: Option<String>,
}

/// The notes, in a file of their own.
pub struct Ledger {
    file: Mutex<File>,
    folder: TempDir,
    promised: AtomicU64,
    refused: AtomicU64,
    unanswered: AtomicU64,
}

impl Ledger {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = File::create(folder.path().join("promises")).unwrap();
        Self {
            file: Mutex::new(file),
            folder,
            promised: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
        }
    }

    fn note(&self, pair: &Pair, number: u64, id: Option<String>) {
        let promised = u64::from(id.is_some());
        let note = Note {
            from: pair.from.address.clone(),
            to: pair.to.clone(),
            number,
            id,
        };
        let mut line = serde_json::to_vec(&note).unwrap();
        line.push(b'\n');
        lock(&self.file).write_all(&line).unwrap();
        self.promised.fetch_add(promised, Ordering::SeqCst);
    }

    /// The notes after this place of the file, which then is behind them.
    pub fn read(&self, place: &mut u64) -> Vec<Note> {
        let mut file = File::open(self.folder.path().join("promises")).unwrap();
        file.seek(SeekFrom::Start(*place)).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        *place += whole as u64;
        let lines = text[..whole].lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// How many messages got a 202.
    pub fn promised(&self) -> u64 {
        self.promised.load(Ordering::SeqCst)
    }

    /// How often a gateway said 503.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }

    /// How often no answer came.
    pub fn unanswered(&self) -> u64 {
        self.unanswered.load(Ordering::SeqCst)
    }

    /// Waits for so many more promises.
    pub async fn more_promises(&self, count: u64) {
        let wanted = self.promised() + count;
        let what = format!("{count} more promises");
        let within = Duration::from_secs(60);
        eventually(&what, within, || (self.promised() >= wanted).then_some(())).await;
    }

    /// Waits for so many more refusals.
    pub async fn more_refusals(&self, count: u64) {
        let wanted = self.refused() + count;
        let what = format!("{count} more refusals");
        let within = Duration::from_secs(60);
        eventually(&what, within, || (self.refused() >= wanted).then_some(())).await;
    }
}

/// Pairs that talk.
pub struct Load {
    ledger: Arc<Ledger>,
    state: Arc<State>,
    talking: JoinSet<()>,
}

/// What the pairs are told.
#[derive(Default)]
struct State {
    stop: AtomicBool,
    rest: AtomicBool,
    pace: Duration,
}

impl Load {
    /// Lets them talk as fast as they can until they are stopped; each begins at the next gateway
    /// in turn.
    pub fn start(gateways: &[Caller], pairs: Vec<Pair>) -> Self {
        Self::paced(gateways, pairs, Duration::ZERO)
    }

    /// The same with a pause after each message of a pair.
    pub fn paced(gateways: &[Caller], pairs: Vec<Pair>, pace: Duration) -> Self {
        let ledger = Arc::new(Ledger::new());
        let state = Arc::new(State {
            pace,
            ..State::default()
        });
        let mut talking = JoinSet::new();
        for (turn, pair) in pairs.into_iter().enumerate() {
            talking.spawn(talk(
                gateways.to_vec(),
                turn,
                pair,
                ledger.clone(),
                state.clone(),
            ));
        }
        Self {
            ledger,
            state,
            talking,
        }
    }

    pub fn ledger(&self) -> Arc<Ledger> {
        self.ledger.clone()
    }

    /// Lets nobody begin a message, so that a reader keeps up; what is in flight goes on.
    pub fn rest(&self) {
        self.state.rest.store(true, Ordering::SeqCst);
    }

    /// Ends the rest.
    pub fn go_on(&self) {
        self.state.rest.store(false, Ordering::SeqCst);
    }

    /// Stops them; what is in flight gets its answer first.
    pub async fn stop(self) {
        self.state.stop.store(true, Ordering::SeqCst);
        timeout(Duration::from_secs(120), self.talking.join_all())
            .await
            .expect("every message gets its answer in the end");
    }
}

async fn talk(
    gateways: Vec<Caller>,
    mut turn: usize,
    pair: Pair,
    ledger: Arc<Ledger>,
    state: Arc<State>,
) {
    for number in 0.. {
        while state.rest.load(Ordering::SeqCst) {
            pause(AGAIN).await;
        }
        if state.stop.load(Ordering::SeqCst) {
            return;
        }
        pause(state.pace).await;
        loop {
            let gateway = &gateways[turn % gateways.len()];
            let id = submit(gateway, &pair, number, &ledger).await;
            let refused = id.is_none();
            if id.is_some() || number % GIVEN_UP == GIVEN_UP - 1 {
                ledger.note(&pair, number, id);
            }
            if refused {
                turn += 1;
                pause(AGAIN).await;
            }
            if !refused || number % GIVEN_UP == GIVEN_UP - 1 {
                break;
            }
        }
    }
}

/// The id of a message that got a 202.
async fn submit(gateway: &Caller, pair: &Pair, number: u64, ledger: &Ledger) -> Option<String> {
    let body = json!({
        "sender": pair.from.address,
        "recipients": [pair.to],
        "idempotency_key": format!("{}-{}-{number}", pair.from.address, pair.to),
        "payload": number,
    });
    let key = Some(pair.from.key.as_str());
    let asked = gateway.ask_soon(Method::POST, "/v1/messages", key, Some(body));
    let Ok(answer) = asked.await else {
        ledger.unanswered.fetch_add(1, Ordering::SeqCst);
        return None;
    };
    let said: Value = serde_json::from_slice(answer.body()).unwrap_or(Value::Null);
    match answer.status() {
        StatusCode::ACCEPTED => Some(said["message_id"].as_str().unwrap().to_owned()),
        StatusCode::SERVICE_UNAVAILABLE => {
            assert!(answer.headers().contains_key("retry-after"), "{said}");
            ledger.refused.fetch_add(1, Ordering::SeqCst);
            None
        }
        other => panic!("{other} {said}"),
    }
}
