//! Contents under names that follow from what they are.

use bytes::Bytes;
use ring::digest;

use super::super::error::StoreError;
use super::super::part_id;
use super::queue::at;
use super::{Acceptance, Bench, Decision, Home, IdempotencyKey, to_inbox};

fn content(size: usize) -> Bytes {
    (0..size)
        .map(|at| u8::try_from(at % 251).unwrap())
        .collect()
}

impl Bench {
    async fn keep(&self, id: &str, content: &Bytes, seconds: u64) -> Result<(), StoreError> {
        let kept = (content.clone(), at(seconds));
        self.store.keep_blob(id, "text/csv", kept).await
    }

    async fn whole(&self, id: &str) -> Vec<u8> {
        self.store.read_blob(id).await.unwrap().unwrap()
    }
}

both!(a_named_content_is_written_once_and_belongs_to_its_message);
async fn a_named_content_is_written_once_and_belongs_to_its_message(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    for (id, size) in [
        ("empty", 0),
        ("small", 9),
        ("chunk", 262_144),
        ("large", 600_000),
    ] {
        let bytes = content(size);
        for _ in 0..2 {
            bench.keep(id, &bytes, 0).await.unwrap();
        }
        let meta = bench.store.find_blob(id).await.unwrap().unwrap();
        assert_eq!((meta.size, meta.message), (size as u64, None), "{id}");
        let hash = digest::digest(&digest::SHA256, &bytes);
        assert_eq!(meta.sha256, hash.as_ref(), "{id}");
        assert_eq!(bench.whole(id).await, bytes, "{id}");
    }
    let acceptance = Acceptance {
        envelope: bench.envelope("alice@a.test", None, "1"),
        recipients: vec![to_inbox("bob@a.test", bob)],
        reserved: None,
        place: None,
        succession: None,
        blobs: vec!["small".to_owned(), "large".to_owned()],
    };
    let decision = bench.store.accept(acceptance).await.unwrap();
    assert!(matches!(decision, Decision::Taken { .. }));
    let owner = async |id: &str| bench.store.find_blob(id).await.unwrap().unwrap().message;
    let message = owner("small").await;
    assert!(message.is_some() && message == owner("large").await);
    assert_eq!(owner("chunk").await, None);
    bench.close().await;
}

both!(what_is_being_written_is_left_alone_until_nobody_can_be_writing_it);
async fn what_is_being_written_is_left_alone_until_nobody_can_be_writing_it(home: Home) {
    let bench = Bench::at(home).await;
    let other = bench
        .store
        .begin_blob("x".to_owned(), "a/b".to_owned(), at(0));
    let mut other = other.await.unwrap();
    other.write(&content(300_000)).await.unwrap();
    let bytes = content(400_000);
    let busy = bench.keep("x", &bytes, 3_599).await;
    assert!(matches!(busy, Err(StoreError::Busy)), "{busy:?}");
    assert!(bench.store.find_blob("x").await.unwrap().is_none());
    assert_eq!(bench.store.read_blob("x").await.unwrap(), None);
    bench.keep("x", &bytes, 3_600).await.unwrap();
    assert_eq!(bench.whole("x").await, bytes);
    bench.close().await;
}

#[test]
fn every_part_of_every_mail_has_its_own_name() {
    let key = |text: &str| IdempotencyKey::parse(text).unwrap();
    let name = part_id("a@a.test", &key("k"), "0");
    assert_eq!(name.len(), 40);
    assert_eq!(name, part_id("a@a.test", &key("k"), "0"));
    assert_ne!(name, part_id("a@a.test", &key("k"), "1"));
    assert_ne!(name, part_id("a@a.test", &key("l"), "0"));
    assert_ne!(name, part_id("b@a.test", &key("k"), "0"));
}
