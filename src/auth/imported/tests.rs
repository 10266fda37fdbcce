//! Keys of Agentry, on both databases.

use super::super::{Activity, Authenticator, Presented};
use super::*;
use crate::clock::Clock;
use crate::envelope::Principal;
use crate::protocol::{AgentName, Domain, Timestamp};
use crate::store::tests::{Bench, Home};
use crate::store::{AgentSettings, Created, NewAgent};

const KEY: &str = "A-lice5678901234567890123456789012345678901";

/// A gateway with one agent that has a key of Agentry, salted so.
async fn bench(home: Home, salt: &str) -> (Bench, i64) {
    let bench = Bench::at(home).await;
    let new = NewAgent {
        domain: Domain::parse("a.test").unwrap(),
        name: AgentName::parse("alice").unwrap(),
        settings: AgentSettings::fresh(),
        sealed_headers: None,
        key: imported_key(imported_hash(KEY, salt)),
        token: None,
        now: Timestamp::from_millis(5),
    };
    let Created::Agent(id) = bench.store.create_agent(new).await.unwrap() else {
        panic!("it exists");
    };
    (bench, id)
}

fn knowing(bench: &Bench, salt: Option<&str>) -> Authenticator {
    let salt = salt.map(|salt| Secret::new(salt.to_owned()));
    let (store, clock) = (bench.store.clone(), Clock::system());
    Authenticator::new(store, clock, Activity::default(), ["an-admin-key-of-16"]).with_salt(salt)
}

async fn shown(auth: &Authenticator, credential: &str) -> Option<(i64, String)> {
    match auth.bearer(credential).await.unwrap() {
        Presented::Principal(Principal::Agent { id, key_id, .. }) => Some((id, key_id)),
        Presented::Invalid => None,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_salted_key_becomes_ours_when_it_is_used() {
    for home in [Home::sqlite(), Home::postgres()] {
        becomes_ours(home).await;
    }
}

async fn becomes_ours(home: Home) {
    let (bench, alice) = bench(home, "salt").await;
    let known = bench.store.list_keys(alice).await.unwrap();
    let before = &known[0];
    assert_eq!(before.id.len(), "agentry-".len() + 16);
    for (salt, credential) in [
        (None, KEY),
        (Some("other"), KEY),
        (Some("salt"), &KEY[1..]),
        (Some("salt"), ""),
        (Some(""), &format!("{KEY}sal")),
    ] {
        assert_eq!(
            shown(&knowing(&bench, salt), credential).await,
            None,
            "{salt:?} {credential}"
        );
    }
    let (id, key_id) = shown(&knowing(&bench, Some("salt")), KEY).await.unwrap();
    assert_eq!(id, alice);
    assert_ne!(key_id, before.id);
    let known = bench.store.list_keys(alice).await.unwrap();
    assert_eq!(known.len(), 1);
    assert_eq!(known[0].id, key_id);
    assert_eq!(known[0].hash, key::hash(KEY));
    assert_eq!(
        known[0].grant, before.grant,
        "it says where it came from, as before"
    );
    // With and without the salt, and with that of the first time still in memory.
    for salt in [None, Some("salt")] {
        assert_eq!(
            shown(&knowing(&bench, salt), KEY).await,
            Some((alice, key_id.clone()))
        );
    }
    assert_eq!(
        shown(&knowing(&bench, None), &format!("{KEY}salt")).await,
        None,
        "the salt is no part of the key any more"
    );
    let now = Timestamp::from_millis(9);
    assert!(bench.store.revoke_key(alice, key_id, now).await.unwrap());
    assert_eq!(shown(&knowing(&bench, Some("salt")), KEY).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_key_without_salt_is_ours_from_the_start() {
    for home in [Home::sqlite(), Home::postgres()] {
        is_ours(home).await;
    }
}

async fn is_ours(home: Home) {
    let (bench, alice) = bench(home, "").await;
    let id = bench.store.list_keys(alice).await.unwrap()[0].id.clone();
    for salt in [None, Some("salt")] {
        assert_eq!(
            shown(&knowing(&bench, salt), KEY).await,
            Some((alice, id.clone()))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn two_gateways_rehash_a_key_at_once() {
    for home in [Home::sqlite(), Home::postgres()] {
        rehashed_twice(home).await;
    }
}

async fn rehashed_twice(home: Home) {
    let (bench, alice) = bench(home, "salt").await;
    let old = bench.store.list_keys(alice).await.unwrap()[0].id.clone();
    let new = || ("agentry-new".to_owned(), vec![7; 32]);
    for _ in 0..2 {
        bench.store.rehash_key(&old, new()).await.unwrap();
        let known = bench.store.list_keys(alice).await.unwrap();
        assert_eq!(known.len(), 1);
        assert_eq!(known[0].id, "agentry-new");
    }
    // The old one, imported once more.
    let again = imported_key(imported_hash(KEY, "salt"));
    assert!(
        bench
            .store
            .add_key(alice, again, Timestamp::from_millis(6))
            .await
            .unwrap()
    );
    bench.store.rehash_key(&old, new()).await.unwrap();
    let known = bench.store.list_keys(alice).await.unwrap();
    assert_eq!(
        known.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(),
        ["agentry-new"]
    );
}
