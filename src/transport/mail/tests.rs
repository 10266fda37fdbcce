use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::clock::TestClock;
use crate::config::Database;
use crate::envelope::{Notes, Origin, Trust, Verification};
use crate::events::Events;
use crate::net::{
    AddressFilter, Asked, DnsFault, MailExchange, MailLineOptions, Records, Resolver, Times,
};
use crate::protocol::{Address, Limits, Message, MessageId, Profile, Timestamp};
use crate::store::{ReturnPath, StoreOptions, StoredMessage, open, party_hash, raw_mail_id};
use crate::telemetry::Metrics;

mod outcomes;
mod protection;
mod server;
mod signatures;

use server::{Heard as Told, Say, Server, certificate, say};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// Knows where `b.test` takes its mail.
#[derive(Clone, Default)]
struct Names {
    exchanges: Arc<Mutex<Vec<(u16, String)>>>,
    failing: Arc<Mutex<bool>>,
    text: Arc<Mutex<Option<String>>>,
}

impl Resolver for Names {
    fn txt<'a>(&'a self, _: &'a str) -> Asked<'a, String> {
        let text = self.text.lock().unwrap().clone();
        Box::pin(async move {
            let records = vec![text.ok_or(DnsFault::Nothing { ttl: None })?];
            let ttl = Duration::from_secs(3_600);
            Ok(Records { records, ttl })
        })
    }

    fn mx<'a>(&'a self, _: &'a str) -> Asked<'a, MailExchange> {
        let found = self.exchanges.lock().unwrap().clone();
        let fails = *self.failing.lock().unwrap();
        Box::pin(async move {
            if fails {
                return Err(DnsFault::Failed("SERVFAIL".to_owned()));
            }
            let one = |(preference, host)| MailExchange { preference, host };
            let records: Vec<MailExchange> = found.into_iter().map(one).collect();
            if records.is_empty() {
                return Err(DnsFault::Nothing { ttl: None });
            }
            let ttl = Duration::from_secs(3_600);
            Ok(Records { records, ttl })
        })
    }

    fn addresses<'a>(&'a self, host: &'a str) -> Asked<'a, IpAddr> {
        let known = !host.starts_with("nowhere");
        Box::pin(async move {
            if !known {
                return Err(DnsFault::Nothing { ttl: None });
            }
            let ttl = Duration::from_secs(3_600);
            let records = vec!["127.0.0.1".parse().unwrap()];
            Ok(Records { records, ttl })
        })
    }
}

/// A transport with a store, a DNS and a server of its own.
struct Bench {
    transport: MailTransport,
    server: Server,
    store: Store,
    clock: Arc<TestClock>,
    names: Names,
    stop: CancellationToken,
    tasks: TaskTracker,
    _folder: TempDir,
}

impl Bench {
    async fn start() -> Self {
        Self::with(None, |_| {}).await
    }

    async fn with(
        tls: Option<(TlsAcceptor, String)>,
        change: impl FnOnce(&mut MailSettings),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            database: Database::Sqlite(folder.path().join("amtpd.db")),
        };
        let clock = TestClock::at(NOW);
        let time = Clock::over(clock.clone());
        let opened = open(&options, Events::default(), Metrics::new(), time.clone()).await;
        let (store, committer) = opened.unwrap();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(committer.run(stop.clone()));
        let names = Names::default();
        names
            .exchanges
            .lock()
            .unwrap()
            .push((10, "mx.b.test".to_owned()));
        let mut trusted = Vec::new();
        let acceptor = tls.map(|(acceptor, authority)| {
            let file = folder.path().join("ca.pem");
            std::fs::write(&file, authority).unwrap();
            trusted.push(file);
            acceptor
        });
        let server = Server::start(acceptor).await;
        let lines = MailLines::new(MailLineOptions {
            resolver: Arc::new(names.clone()),
            filter: AddressFilter::any(),
            trusted_ca_files: trusted,
            times: Times::default(),
            clock: time.clone(),
        });
        let mut settings = MailSettings {
            host: Domain::parse("gw.a.test").unwrap(),
            domains: vec![Domain::parse("a.test").unwrap()],
            face: Face::Bridge,
            tls: MailTls::Opportunistic,
            port: server.address.port(),
            smarthost: None,
            next_hop: None,
            onward: HashSet::new(),
        };
        change(&mut settings);
        let tools = MailTools {
            store: store.clone(),
            discovery: Discovery::new(Arc::new(names.clone()), time.clone(), Metrics::new()),
            lines: lines.unwrap(),
            sealer: Sealer::new(KEY).unwrap(),
            clock: time,
        };
        Self {
            transport: MailTransport::new(tools, settings),
            server,
            store,
            clock,
            names,
            stop,
            tasks,
            _folder: folder,
        }
    }

    async fn carry(&self, parcels: Vec<Parcel>) -> Vec<Attempted> {
        let to = Destination::parse("mail:b.test").unwrap();
        let carried = self.transport.carry(&to, parcels).await;
        carried.into_iter().flatten().collect()
    }

    async fn carry_one(&self, recipients: &[&str]) -> Vec<Attempted> {
        self.carry(vec![parcel(1, recipients, "")]).await
    }

    async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// A message of `alice@a.test`, with a copy for each recipient.
fn parcel(mid: i64, recipients: &[&str], more: &str) -> Parcel {
    let list = serde_json::to_string(recipients).unwrap();
    let id = format!("01987654-3210-7654-8765-43219876{mid:04}");
    let raw = format!(
        r#"{{"sender":"alice@a.test","recipients":{list},"message_id":"{id}","subject":"Hello","payload":{{"text":"hi"}}{more}}}"#
    );
    let body = Bytes::from(raw);
    let message = Message::parse(body.clone(), Profile::Relay, &Limits::default()).unwrap();
    let stored = StoredMessage {
        mid,
        message_id: MessageId::parse(&id).unwrap(),
        sender: message.sender().key(),
        trust: Trust::Local,
        origin: Origin::Submission,
        accepted_at: NOW,
        notes: Notes {
            verification: Verification::authenticated(message.sender().domain()),
            minted_key: Some("01234567-89ab-4cde-8123-456789abcdef".to_owned()),
            request_id: "r".to_owned(),
            remote: None,
            answers: None,
        },
        body,
    };
    let copy = |(seq, recipient): (i64, &Address)| Copy {
        seq,
        recipient: recipient.clone(),
        attempts: 0,
        first_attempt: None,
        wire: None,
        renew: false,
    };
    let copies = (mid * 100..).zip(message.recipients()).map(copy).collect();
    Parcel {
        stored: Arc::new(stored),
        message,
        copies,
    }
}

/// The code of a failure for good.
fn failed(attempted: &Attempted) -> ErrorCode {
    match &attempted.outcome {
        Outcome::Failed(trouble) => trouble.code,
        other => panic!("{other:?}"),
    }
}

/// The trouble of a failure for now.
fn deferred(attempted: &Attempted) -> &Trouble {
    match &attempted.outcome {
        Outcome::Deferred(trouble) => trouble,
        other => panic!("{other:?}"),
    }
}

fn delivered(attempted: &Attempted) -> bool {
    attempted.outcome == Outcome::Delivered { reply: None }
}
