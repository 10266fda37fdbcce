//! Databases that older versions wrote.

use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

use super::super::migrations;
use super::sessions::{asks, new_session};
use super::{Bench, Fate, Home, query, to_inbox};

/// A database as the version of this migration left it, with what a statement adds.
async fn left_by(version: i64, rows: &str) -> Home {
    let home = Home::sqlite();
    let path = home.database().file().unwrap().to_owned();
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .connect()
        .await
        .unwrap();
    migrations::sqlite_until(version)
        .run(&mut connection)
        .await
        .unwrap();
    home.run(rows).await;
    sqlx::Connection::close(connection).await.unwrap();
    home
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
