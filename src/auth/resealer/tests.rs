use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio_util::task::TaskTracker;

use super::*;
use crate::clock::TestClock;
use crate::events::Events;
use crate::protocol::{AgentName, Domain, Timestamp};
use crate::store::tests::Home;
use crate::store::{
    self, Created, Grant, KeyUse, NewAgent, NewKey, NewPush, NewTask, SigningKey, StoreOptions,
};
use crate::telemetry::Metrics;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);
const AGENTS: u64 = 250;

fn key(byte: u8) -> String {
    STANDARD.encode([byte; 32])
}

fn sealer(present: u8, previous: &[u8]) -> Sealer {
    let previous: Vec<String> = previous.iter().map(|byte| key(*byte)).collect();
    let sealer = Sealer::new(&key(present)).unwrap();
    let previous = previous.iter().map(String::as_str);
    sealer.with_previous(previous).unwrap()
}

async fn agent(store: &Store, name: &str, sealed_headers: Option<Vec<u8>>) -> i64 {
    let settings = r#"{"delivery_mode":"push","listed":true,"push_target":"https://a.test/"}"#;
    let new = NewAgent {
        domain: Domain::parse("a.test").unwrap(),
        name: AgentName::parse(name).unwrap(),
        settings: serde_json::from_str(settings).unwrap(),
        sealed_headers,
        key: NewKey {
            id: format!("key-of-{name}"),
            hash: vec![1; 32],
            grant: Grant::default(),
        },
        token: None,
        now: NOW,
    };
    match store.create_agent(new).await.unwrap() {
        Created::Agent(id) => id,
        other => panic!("{other:?}"),
    }
}

async fn token_key(store: &Store, sealer: &Sealer) {
    let key = SigningKey {
        id: "k".to_owned(),
        sealed: sealer.seal(KeyUse::Tokens.purpose(), b"private"),
        public: vec![4; 65],
        created_at: NOW,
        signs_until: NOW.plus(EVERY),
        ends_at: NOW.plus(EVERY),
    };
    store
        .add_signing_key(KeyUse::Tokens, key, NOW)
        .await
        .unwrap();
}

/// A task with a place where its changes are posted.
async fn push(store: &Store, sealer: &Sealer) {
    let task = NewTask {
        id: "t".to_owned(),
        agent: 1,
        owner: "agent:1".to_owned(),
        context: "c".to_owned(),
        dialect: 10,
        alias: None,
        state: 1,
        status: Vec::new(),
        message: Vec::new(),
        metadata: None,
        request: None,
        key: None,
        held_until: NOW,
        deadline_at: None,
        push: Some(NewPush {
            id: "p".to_owned(),
            dialect: 10,
            url: "https://p.test/".to_owned(),
            sealed: Some(sealer.seal(PUSH_CREDENTIALS, b"shown")),
            now: NOW,
        }),
        now: NOW,
    };
    store.open_task(task, None).await.unwrap();
}

async fn a_value_of_a_previous_key_is_sealed_anew(home: Home) {
    let options = StoreOptions {
        database: home.database(),
    };
    let clock = Clock::over(TestClock::at(NOW));
    let (events, metrics) = (Events::default(), Metrics::default());
    let opened = store::open(&options, events, metrics, clock.clone()).await;
    let (store, committer) = opened.unwrap();
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    tasks.spawn(committer.run(stop.clone()));

    let (old, both, new) = (sealer(7, &[]), sealer(8, &[7]), sealer(8, &[]));
    let stranger = sealer(9, &[]);
    for n in 0..AGENTS {
        let headers = old.seal(WEBHOOK_HEADERS, format!("secret {n}").as_bytes());
        agent(&store, &format!("a{n}"), Some(headers)).await;
    }
    let bare = agent(&store, "bare", None).await;
    let lost = stranger.seal(WEBHOOK_HEADERS, b"x");
    let lost_agent = agent(&store, "lost", Some(lost.clone())).await;
    token_key(&store, &old).await;
    push(&store, &old).await;

    // The first start without a previous key notes where the secrets come from.
    let round = |sealer: &Sealer| {
        let resealer = Resealer::new(store.clone(), sealer.clone(), clock.clone());
        async move { resealer.round().await.unwrap() }
    };
    let nothing = Resealed { sealed: 0, lost: 1 };
    assert_eq!(round(&old).await, nothing);
    let of = |sealer: &Sealer, count| (sealer.mark(), count);
    let secrets = BTreeMap::from([of(&old, AGENTS + 2)]);
    let before = Seals {
        headers: BTreeMap::from([of(&old, AGENTS), of(&stranger, 1)]),
        signing_keys: BTreeMap::from([of(&old, 1)]),
        pushes: BTreeMap::from([of(&old, 1)]),
        webhook_secrets: secrets.clone(),
    };
    assert_eq!(store.seals().await.unwrap(), before);

    let expected = Resealed {
        sealed: AGENTS + 2,
        lost: 1,
    };
    assert_eq!(round(&both).await, expected);
    let after = Seals {
        headers: BTreeMap::from([of(&new, AGENTS), of(&stranger, 1)]),
        signing_keys: BTreeMap::from([of(&new, 1)]),
        pushes: BTreeMap::from([of(&new, 1)]),
        webhook_secrets: secrets,
    };
    assert_eq!(store.seals().await.unwrap(), after);
    assert_eq!(
        store::count_seals(&home.database()).await.unwrap(),
        after,
        "also without a gateway"
    );
    assert_eq!(round(&new).await, nothing);
    for agent in store.sealed_agents(0, 1_000).await.unwrap() {
        match agent.headers {
            None => assert_eq!(agent.id, bare),
            Some(headers) if agent.id == lost_agent => assert_eq!(headers, lost),
            Some(headers) => {
                let opened = new.open(WEBHOOK_HEADERS, &headers).unwrap();
                assert!(opened.starts_with(b"secret "));
            }
        }
        assert_eq!(agent.secret, Some(old.mark()));
    }
    let push = store.sealed_pushes(("", ""), 9).await.unwrap();
    assert_eq!(
        new.open(PUSH_CREDENTIALS, &push[0].sealed).unwrap(),
        b"shown"
    );
    let keys = store.signing_keys(KeyUse::Tokens, NOW).await.unwrap();
    assert_eq!(
        new.open(KeyUse::Tokens.purpose(), &keys[0].sealed).unwrap(),
        b"private"
    );
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_value_of_a_previous_key_is_sealed_anew_on_sqlite() {
    a_value_of_a_previous_key_is_sealed_anew(Home::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_value_of_a_previous_key_is_sealed_anew_on_postgresql() {
    a_value_of_a_previous_key_is_sealed_anew(Home::postgres()).await;
}
