//! Databases that older versions wrote.

use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

use super::super::migrations;
use super::{Bench, Home, query};

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
