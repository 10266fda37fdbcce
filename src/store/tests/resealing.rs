//! Sealed values change only where they are what was read.

use super::{Bench, Home, KeyMark, NOW, Timestamp, new_agent};
use crate::store::{Created, KeyUse, NewAgent, SealedAgent, SigningKey};

both!(a_sealed_value_that_was_changed_meanwhile_stays);
async fn a_sealed_value_that_was_changed_meanwhile_stays(home: Home) {
    let bench = Bench::at(home).await;
    let new = NewAgent {
        sealed_headers: Some(b"old".to_vec()),
        ..new_agent("bob")
    };
    let Created::Agent(bob) = bench.store.create_agent(new).await.unwrap() else {
        panic!("bob is new");
    };
    let store = &bench.store;
    for (old, new, expected) in [("other", "new", 0), ("old", "new", 1), ("old", "newer", 0)] {
        let value = (bob, old.as_bytes().to_vec(), new.as_bytes().to_vec());
        assert_eq!(store.reseal_headers(vec![value]).await.unwrap(), expected);
    }
    let moment = Timestamp::from_millis;
    let key = SigningKey {
        id: "k".to_owned(),
        sealed: b"old".to_vec(),
        public: Vec::new(),
        created_at: moment(NOW),
        signs_until: moment(NOW + 1),
        ends_at: moment(NOW + 1),
    };
    store
        .add_signing_key(KeyUse::Tokens, key, moment(NOW))
        .await
        .unwrap();
    for (old, expected) in [("other", 0), ("old", 1), ("old", 0)] {
        let value = ("k".to_owned(), old.as_bytes().to_vec(), b"new".to_vec());
        assert_eq!(
            store
                .reseal_signing_keys(KeyUse::Tokens, vec![value])
                .await
                .unwrap(),
            expected
        );
    }
    assert_eq!(
        store
            .signing_keys(KeyUse::Tokens, moment(NOW))
            .await
            .unwrap()[0]
            .sealed,
        b"new"
    );

    // A key that is noted is not noted again.
    let mark = |text: &str| KeyMark::try_from(text.to_owned()).unwrap();
    for (given, noted) in [("00000001", "00000001"), ("00000002", "00000001")] {
        store
            .mark_secrets(vec![bob, 99], mark(given))
            .await
            .unwrap();
        let expected = SealedAgent {
            id: bob,
            headers: Some(b"new".to_vec()),
            secret: Some(mark(noted)),
            has_webhook: false,
        };
        assert_eq!(store.sealed_agents(0, 10).await.unwrap(), [expected]);
    }
    bench.close().await;
}
