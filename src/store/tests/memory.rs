//! What the writer of a SQLite file remembers is what the file says, on either database.

use super::super::committer::Verb;
use super::super::sql::{Connection, Insert, Statement};
use super::super::{Arriving, Ending, Fate};
use super::{
    Bench, CancellationToken, Clock, Events, Home, IdempotencyKey, Metrics, NOW, StoreOptions,
    TaskTracker, Timestamp, Topic, open, query, to_inbox, to_queue,
};
use crate::store::{Acceptance, Decision, Succession};

/// A verb whose rows are refused.
struct Refused;

impl Verb for Refused {
    type Answer = ();

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        let row = || vec!["w-1".into(), 1.into()];
        let insert = "INSERT INTO wire_ids (wire_id, mid)";
        tx.insert(Insert::new(insert, vec![row(), row()])).await
    }
}

impl Bench {
    async fn positions(&self, mailbox: i64) -> Vec<i64> {
        let page = self.store.take_mail(query(mailbox)).await.unwrap();
        page.items.iter().map(|item| item.seq).collect()
    }
}

both!(positions_go_on_where_mail_comes_by_another_way);
async fn positions_go_on_where_mail_comes_by_another_way(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let to_bob = || vec![to_inbox("bob@a.test", bob)];
    let message = || bench.envelope("alice@a.test", None, "1");
    bench.accept(message(), to_bob()).await;
    let queued = vec![to_queue("bob@a.test", bob)];
    bench.accept(message(), queued).await;
    bench.accept(message(), to_bob()).await;
    let row = bench.fed().await.remove(0);
    let arriving = Arriving {
        seq: row.seq,
        mid: row.mid,
        size: row.size,
    };
    let entering = bench
        .store
        .enter_mailbox(bob, vec![arriving], Timestamp::from_millis(NOW));
    assert_eq!(entering.await.unwrap(), [true]);
    bench.accept(message(), to_bob()).await;
    assert_eq!(bench.positions(bob).await, [1, 2, 3, 4]);
}

both!(a_batch_that_fails_leaves_neither_gap_nor_key);
async fn a_batch_that_fails_leaves_neither_gap_nor_key(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let mut accepted = 0;
    for round in 0..20 {
        let keys = [format!("a-{round}"), format!("b-{round}")];
        let mut under_way = Vec::new();
        for key in &keys {
            let acceptance = Acceptance {
                envelope: bench.envelope("alice@a.test", Some(key), "1"),
                recipients: vec![to_inbox("bob@a.test", bob)],
                reserved: None,
                place: None,
                succession: None,
                blobs: Vec::new(),
            };
            let accepting = bench.store.begin_accept(acceptance).await.unwrap();
            under_way.push(accepting);
        }
        // Often in one batch with them.
        bench.store.0.committing.commit(Refused).await.unwrap_err();
        for accepting in under_way {
            accepting.decision().await.unwrap();
            accepted += 1;
        }
        for key in &keys {
            let again = bench.envelope("alice@a.test", Some(key), "1");
            let (_, fates) = bench.accept(again, vec![to_inbox("bob@a.test", bob)]).await;
            assert!(matches!(fates[..], [Fate::Known(_)]), "{fates:?}");
        }
    }
    let expected: Vec<i64> = (1..=accepted).collect();
    let mut page = query(bob);
    page.limit = 100;
    let page = bench.store.take_mail(page).await.unwrap();
    let seqs: Vec<i64> = page.items.iter().map(|item| item.seq).collect();
    assert_eq!(seqs, expected);
}

both!(nothing_of_a_sender_is_stored_behind_what_could_not_be);
async fn nothing_of_a_sender_is_stored_behind_what_could_not_be(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let (number, _) = bench.store.reserve(1).await.unwrap();
    let succession = Succession::default();
    let acceptance = |sender: &str, reserved| Acceptance {
        envelope: bench.envelope(sender, None, "1"),
        recipients: vec![to_inbox("bob@a.test", bob)],
        reserved,
        place: None,
        succession: Some(succession.clone()),
        blobs: Vec::new(),
    };
    let taken = acceptance("alice@a.test", Some(number));
    bench.store.accept(taken).await.unwrap();
    let mut under_way = Vec::new();
    for (sender, reserved) in [
        // This number is taken.
        ("alice@a.test", Some(number)),
        ("alice@a.test", None),
        ("eve@a.test", None),
    ] {
        let handed = bench.store.begin_accept(acceptance(sender, reserved)).await;
        under_way.push(handed.unwrap().decision());
    }
    let mut stored = Vec::new();
    for decision in under_way {
        stored.push(decision.await.is_ok());
    }
    assert_eq!(stored, [false, false, true]);
    let page = bench.store.take_mail(query(bob)).await.unwrap();
    assert_eq!(page.items.len(), 2);
}

both!(keys_are_known_after_a_restart_and_free_after_a_failure);
async fn keys_are_known_after_a_restart_and_free_after_a_failure(home: Home) {
    let mut home = home;
    let to_peer = || vec![to_queue("eve@a.test", 1)];
    let mut first = None;
    for _ in 0..3 {
        let bench = Bench::at(home).await;
        let (id, fates) = bench
            .accept(bench.envelope("alice@a.test", Some("k"), "1"), to_peer())
            .await;
        match &first {
            None => first = Some(id),
            Some(first) => {
                assert_eq!(&id, first);
                assert!(matches!(fates[..], [Fate::Known(_)]));
            }
        }
        home = bench.close().await;
    }
    let bench = Bench::at(home).await;
    let row = bench.fed().await.remove(0);
    let delivery = bench
        .store
        .load_deliveries(&[row.seq])
        .await
        .unwrap()
        .remove(0);
    let envelope = bench.envelope("alice@a.test", Some("k"), "1");
    let held = super::super::claims::held_of(&envelope, &delivery.recipient);
    bench
        .settle(&row, Ending::Expired { held: Some(held) })
        .await;
    let (_, fates) = bench.accept(envelope, to_peer()).await;
    assert!(matches!(fates[..], [Fate::New(_)]), "it may be sent again");
    let again = bench.envelope("alice@a.test", Some("k"), "1");
    let (_, fates) = bench.accept(again, to_peer()).await;
    assert!(matches!(fates[..], [Fate::Known(_)]));
    let home = bench.close().await;
    let bench = Bench::at(home).await;
    let again = bench.envelope("alice@a.test", Some("k"), "1");
    let (_, fates) = bench.accept(again, to_peer()).await;
    assert!(matches!(fates[..], [Fate::Known(_)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn before_the_keys_are_read_any_may_be_known_and_none_is_forgotten() {
    let bench = Bench::at(Home::sqlite()).await;
    let bob = bench.agent("bob").await;
    let to_bob = || vec![to_inbox("bob@a.test", bob)];
    let known = bench.envelope("alice@a.test", Some("known"), "1");
    let (first, _) = bench.accept(known.clone(), to_bob()).await;
    let home = bench.close().await;
    let options = StoreOptions {
        database: home.database(),
    };
    let opened = open(
        &options,
        Events::default(),
        Metrics::default(),
        Clock::system(),
    );
    let (store, committer) = opened.await.unwrap();
    let acceptance = |envelope| Acceptance {
        envelope,
        recipients: to_bob(),
        reserved: None,
        place: None,
        succession: None,
        blobs: Vec::new(),
    };
    let mut other = known.clone();
    other.idempotency_key = IdempotencyKey::parse("other").unwrap();
    let other = acceptance(other);
    assert!(store.knows(&acceptance(known.clone())).await.unwrap());
    assert!(store.knows(&other).await.unwrap(), "nobody can tell yet");
    // It waits for the committer, and that for the keys.
    let again = store.begin_accept(acceptance(known.clone())).await.unwrap();
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let committing = tasks.spawn(committer.run(stop.clone()));
    let Decision::Taken { message_id, fates } = again.decision().await.unwrap() else {
        panic!("the content is the same");
    };
    assert_eq!(message_id, first);
    assert!(matches!(fates[..], [Fate::Known(_)]), "{fates:?}");
    assert!(store.knows(&acceptance(known)).await.unwrap());
    assert!(!store.knows(&other).await.unwrap());
    stop.cancel();
    committing.await.unwrap().unwrap();
}

/// Else each LIMIT whose number is bound is planned anew each time (.cargo/config.toml).
#[tokio::test]
async fn sqlite_plans_a_statement_once() {
    let bench = Bench::at(Home::sqlite()).await;
    let mut reader = bench.store.reader().await.unwrap();
    let options = reader.rows(Statement::new("PRAGMA compile_options")).await;
    let options = options.unwrap();
    let mut options = options.iter().map(|row| row.text(0).unwrap());
    assert!(options.any(|option| option == "ENABLE_QPSG"));
}
