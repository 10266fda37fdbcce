//! Databases that older versions wrote.

use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use super::super::migrations::{self, Backend};
use super::super::{QueueFilter, open};
use super::postgres::Cluster;
use super::sessions::{asks, new_session};
use super::{
    AgentName, Bench, DeliveryStatus, Domain, Events, Fate, Home, Metrics, StoreOptions, query,
    to_inbox,
};
use crate::clock::{Clock, TestClock};
use crate::protocol::Timestamp;

/// A database as the version of this migration left it, with what a statement adds.
async fn left_by(version: i64, rows: &str) -> Home {
    left_by_one_on(Backend::Sqlite, version, rows).await
}

async fn left_by_one_on(backend: Backend, version: i64, rows: &str) -> Home {
    let known = migrations::until(backend, version);
    let home = match backend {
        Backend::Sqlite => Home::sqlite(),
        Backend::Postgres => Home::postgres(),
    };
    match &home {
        Home::Sqlite(_) => {
            let path = home.database().file().unwrap().to_owned();
            let options = SqliteConnectOptions::new()
                .filename(path)
                .create_if_missing(true);
            let mut connection = options.connect().await.unwrap();
            known.run(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        }
        Home::Postgres(url) => {
            let mut connection = PgConnection::connect(url).await.unwrap();
            known.run(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        }
    }
    home.run(rows).await;
    home
}

/// What every version would have written: two agents, one with a key and with mail, and a message
/// that waits for a peer.
fn rows(backend: Backend, version: i64) -> String {
    let bytes = |text: &str| {
        let digits: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        match backend {
            Backend::Sqlite => format!("x'{digits}'"),
            Backend::Postgres => format!("'\\x{digits}'"),
        }
    };
    let settings = bytes(r#"{"delivery_mode":"pull","listed":true}"#);
    let notes =
        bytes(r#"{"v":{"result":"authenticated","method":"api_key","domain":"a.test"},"r":"r-1"}"#);
    let body = bytes(r#"{"sender":"alice@a.test","recipients":["bob@a.test"],"payload":"kept"}"#);
    let apart = backend == Backend::Sqlite && version < 4;
    let (column, value) = match apart {
        true => ("", String::new()),
        false => (", body", format!(", {body}")),
    };
    let mut text = format!(
        "INSERT INTO agents (id, domain, name, settings, active, created_at, updated_at) VALUES \
         (1, 'a.test', 'alice', {settings}, 1, 5, 5), (2, 'a.test', 'bob', {settings}, 1, 5, 5); \
         INSERT INTO mailboxes (id, next_seq) VALUES (1, 1), (2, 2); \
         INSERT INTO api_keys (id, agent, hash, created_at) VALUES ('0011223344556677', 2, {hash}, 5); \
         INSERT INTO messages (mid, message_id, sender, sender_hash, trust, origin, accepted_at, size, envelope{column}) \
         VALUES (1, 'm-1', 'alice@a.test', 1, 0, 0, 5, 70, {notes}{value}), (2, 'm-2', 'alice@a.test', 1, 0, 0, 6, 70, {notes}{value}); \
         INSERT INTO inbox (mailbox, seq, mid, sender_hash, recipient) VALUES (2, 1, 1, 1, 'bob@a.test'); \
         INSERT INTO deliveries (seq, mid, recipient, party, lane, shard, destination, state, due_at, give_up_at, priority) \
         VALUES (1, 2, 'eve@b.test', 7, 7, 7, 'domain:b.test', 0, 6, 1900000000000, 1);",
        hash = bytes(&"h".repeat(32)),
    );
    if apart {
        text.push_str(&format!(
            "INSERT INTO bodies (mid, body) VALUES (1, {body}), (2, {body});"
        ));
    }
    if backend == Backend::Postgres {
        text.push_str("SELECT setval('message_numbers', 2); SELECT setval('delivery_numbers', 1);");
        text.push_str("SELECT setval(pg_get_serial_sequence('agents', 'id'), 2);");
    }
    text
}

#[tokio::test]
async fn a_file_of_each_earlier_version_opens_and_serves() {
    for version in migrations::former(Backend::Sqlite) {
        serves(Backend::Sqlite, version).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_postgresql_of_each_earlier_version_opens_and_serves() {
    for version in migrations::former(Backend::Postgres) {
        serves(Backend::Postgres, version).await;
    }
}

async fn serves(backend: Backend, version: i64) {
    let home = left_by_one_on(backend, version, &rows(backend, version)).await;
    let mut home = Some(home);
    // Migrated at the first start; found so at the second.
    for start in 0..2 {
        let bench = Bench::at(home.take().unwrap()).await;
        let page = bench.store.take_mail(query(2)).await.unwrap();
        let first = &page.items[0].message;
        let shown = format!("{backend:?} {version}, start {start}");
        assert_eq!(first.message_id.as_str(), "m-1", "{shown}");
        assert!(first.body.ends_with(br#""payload":"kept"}"#), "{shown}");
        assert_eq!(first.notes.verification.method, "api_key", "{shown}");
        let all = QueueFilter::default();
        let waiting = bench.store.list_deliveries(&all, 0, 10);
        let waiting = waiting.await.unwrap();
        assert_eq!(waiting.len(), 1, "{shown}");
        assert_eq!(waiting[0].recipient.to_string(), "eve@b.test", "{shown}");
        let key = bench
            .store
            .find_key("0011223344556677")
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (key.agent, &key.hash[..]),
            (2, &b"h".repeat(32)[..]),
            "{shown}"
        );
        let (domain, name) = (
            Domain::parse("a.test").unwrap(),
            AgentName::parse("bob").unwrap(),
        );
        let bob = bench.store.find_agent(&domain, &name).await.unwrap();
        assert!(bob.unwrap().settings.has_mailbox(), "{shown}");
        // New mail stands behind what was there.
        let new = bench.envelope("alice@a.test", None, "1");
        let (_, fates) = bench.accept(new, vec![to_inbox("bob@a.test", 2)]).await;
        assert_eq!(fates, [Fate::New(DeliveryStatus::Delivered)], "{shown}");
        let mail = bench.mail(2).await;
        assert_eq!(mail.len(), 2 + start, "{shown}");
        assert_eq!(mail[0], "m-1", "{shown}");
        home = Some(bench.close().await);
    }
}

/// A table that somebody reads for long, such as `pg_dump`, is not waited for with all the others behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_lets_others_pass_while_it_cannot_have_a_table() {
    // The next migration adds columns to `mailboxes`.
    let home = left_by_one_on(Backend::Postgres, 6, &rows(Backend::Postgres, 6)).await;
    let Home::Postgres(url) = &home else {
        unreachable!()
    };
    let mut reader = PgConnection::connect(url).await.unwrap();
    for statement in ["BEGIN", "SELECT count(*) FROM mailboxes"] {
        sqlx::query(statement).execute(&mut reader).await.unwrap();
    }
    let source = TestClock::at(Timestamp::from_millis(super::NOW));
    let (options, clock) = (
        StoreOptions {
            database: home.database(),
        },
        Clock::over(source.clone()),
    );
    let opened = std::cell::Cell::new(false);
    let opening = async {
        let store = open(&options, Events::default(), Metrics::default(), clock).await;
        opened.set(true);
        store.map(drop).unwrap();
    };
    let others = async {
        // What an older gateway does goes on: behind the migration for two seconds, then past it.
        let mut older = PgConnection::connect(url).await.unwrap();
        for _ in 0..5 {
            let update = sqlx::query("UPDATE mailboxes SET next_seq = next_seq + 1 WHERE id = 1");
            update.execute(&mut older).await.unwrap();
            source.advance(Duration::from_secs(6));
        }
        assert!(!opened.get(), "the table is still being read");
        sqlx::query("COMMIT").execute(&mut reader).await.unwrap();
        while !opened.get() {
            source.advance(Duration::from_secs(6));
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(opening, others);
    let last = "SELECT max(version) FROM _sqlx_migrations WHERE success";
    let last: i64 = Cluster::shared().query_in(url, last).parse().unwrap();
    assert!(migrations::former(Backend::Postgres).all(|former| former < last));
    let held = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
                WHERE locktype = 'advisory' AND datname = current_database()";
    assert_eq!(Cluster::shared().query_in(url, held), "0");
}

#[tokio::test]
async fn bodies_that_stood_apart_are_kept() {
    let home = left_by(
        3,
        r#"INSERT INTO mailboxes (id, next_seq) VALUES (1, 3);
           INSERT INTO messages (mid, message_id, sender, sender_hash, trust, origin, accepted_at, size, envelope)
           VALUES (1, 'm-1', 'a@one.test', 1, 0, 0, 5, 4, CAST('{"v":{"result":"authenticated","method":"api_key","domain":"one.test"},"r":"r-1"}' AS BLOB)),
                  (7, 'm-2', 'a@one.test', 1, 0, 0, 6, 4, CAST('{"v":{"result":"unsigned","method":"none","domain":"one.test"},"r":"r-2"}' AS BLOB));
           INSERT INTO bodies (mid, body) VALUES (1, x'11223344'), (7, zeroblob(9000));
           INSERT INTO inbox (mailbox, seq, mid, sender_hash, recipient)
           VALUES (1, 1, 1, 1, 'b@one.test'), (1, 2, 7, 1, 'b@one.test');"#,
    )
    .await;
    let bench = Bench::at(home).await;
    let page = bench.store.take_mail(query(1)).await.unwrap();
    let mail: Vec<_> = page.items.iter().map(|item| &item.message).collect();
    assert_eq!(mail[0].body[..], [0x11, 0x22, 0x33, 0x44]);
    assert_eq!(mail[1].body.len(), 9_000);
    assert_eq!(mail[0].notes.verification.method, "api_key");
    assert_eq!(mail[1].notes.verification.domain, "one.test");
}

#[tokio::test]
async fn mail_from_before_there_were_sessions_is_nobodys() {
    let home = left_by(
        7,
        r#"INSERT INTO mailboxes (id, next_seq) VALUES (1, 2);
           INSERT INTO messages (mid, message_id, sender, sender_hash, trust, origin, accepted_at, size, envelope, body)
           VALUES (1, 'm-1', 'a@one.test', 1, 0, 0, 5, 4, CAST('{"v":{"result":"authenticated","method":"api_key","domain":"one.test"},"r":"r-1"}' AS BLOB), x'11223344');
           INSERT INTO inbox (mailbox, seq, mid, sender_hash, leased_until, read, recipient)
           VALUES (1, 1, 1, 1, 0, 1, 'b@one.test');"#,
    )
    .await;
    let bench = Bench::at(home).await;
    let session = bench.open(new_session(1)).await;
    assert_eq!(bench.handed(asks(session, 1)).await, ["m-1"]);
}

#[tokio::test]
async fn keys_of_older_versions_stay_known() {
    let home = left_by(3, r#"INSERT INTO mailboxes (id, next_seq) VALUES (1, 1);"#).await;
    // The row that the older version would have written for this message.
    let bench = Bench::at(Home::sqlite()).await;
    let first = bench.envelope("alice@a.test", Some("k"), "1");
    let to_bob = || vec![to_inbox("bob@a.test", 1)];
    let (key, fingerprint) = super::super::claims::as_kept(&first, "bob@a.test");
    let accepted_at = first.received_at.as_millis();
    home.run(&format!(
        "INSERT INTO idempotency (slice, k, fp, mid, message_id, accepted_at) \
         VALUES ({}, x'{key}', x'{fingerprint}', 5, 'the-first', {accepted_at})",
        accepted_at / 86_400_000,
    ))
    .await;
    bench.close().await;
    let mut home = home;
    // The filter is made at the first start and read at the second.
    for _ in 0..2 {
        let bench = Bench::at(home).await;
        let again = bench.envelope("alice@a.test", Some("k"), "1");
        let (id, fates) = bench.accept(again, to_bob()).await;
        assert_eq!(id.as_str(), "the-first");
        assert_eq!(fates, [Fate::Known(5)]);
        home = bench.close().await;
    }
}
