//! Schemas: revisions, states, lists, and the generation that tells of changes.

use super::super::{NewSchema, PutSchema, SchemaState};
use super::{Bench, Home, NOW, Timestamp};
use crate::protocol::SchemaId;

fn id(text: &str) -> SchemaId {
    SchemaId::parse(text).unwrap()
}

fn new(name: &str, document: &str) -> NewSchema {
    NewSchema {
        id: id(name),
        state: SchemaState::Draft,
        document: document.as_bytes().to_vec(),
        sha256: document.as_bytes().to_vec(),
        changed_by: "test".to_owned(),
        now: Timestamp::from_millis(NOW),
    }
}

const ORDER: &str = "agntcy:commerce.order.v1";

both!(a_new_document_is_a_new_revision_and_an_equal_one_is_not);
async fn a_new_document_is_a_new_revision_and_an_equal_one_is_not(home: Home) {
    let bench = Bench::at(home).await;
    let put = async |document: &str| bench.store.put_schema(new(ORDER, document)).await.unwrap();
    assert_eq!(put("{}").await, PutSchema::Stored(1));
    assert_eq!(put("{}").await, PutSchema::Same(1));
    assert_eq!(put("true").await, PutSchema::Stored(2));
    // What was newest once is a new revision again.
    assert_eq!(put("{}").await, PutSchema::Stored(3));
    let find = async |revision| {
        let found = bench.store.find_schema(&id(ORDER), revision).await.unwrap();
        found.map(|it| (it.revision, String::from_utf8(it.document).unwrap()))
    };
    assert_eq!(find(None).await, Some((3, "{}".to_owned())));
    assert_eq!(find(Some(2)).await, Some((2, "true".to_owned())));
    for nobodys in [0, 4, -1] {
        assert_eq!(find(Some(nobodys)).await, None);
    }
    bench.close().await;
}

both!(an_equal_document_takes_the_new_state);
async fn an_equal_document_takes_the_new_state(home: Home) {
    let bench = Bench::at(home).await;
    bench.store.put_schema(new(ORDER, "{}")).await.unwrap();
    let mut again = new(ORDER, "{}");
    again.state = SchemaState::Required;
    assert_eq!(
        bench.store.put_schema(again).await.unwrap(),
        PutSchema::Same(1)
    );
    let found = bench.store.find_schema(&id(ORDER), None).await.unwrap();
    assert_eq!(found.unwrap().state, SchemaState::Required);
    bench.close().await;
}

both!(a_state_is_set_with_who_and_when);
async fn a_state_is_set_with_who_and_when(home: Home) {
    let bench = Bench::at(home).await;
    bench.store.put_schema(new(ORDER, "{}")).await.unwrap();
    let later = Timestamp::from_millis(NOW + 5);
    let set = async |revision| {
        let id = id(ORDER);
        let place = (&id, revision);
        let state = SchemaState::Accepted;
        let set = bench.store.set_schema_state(place, state, "eve", later);
        set.await.unwrap()
    };
    assert!(set(1).await && !set(2).await);
    let found = bench.store.find_schema(&id(ORDER), None).await.unwrap();
    let found = found.unwrap();
    assert_eq!(found.state, SchemaState::Accepted);
    assert_eq!(
        (found.changed_by.as_str(), found.changed_at),
        ("eve", later)
    );
    assert_eq!(found.created_at, Timestamp::from_millis(NOW));
    bench.close().await;
}

both!(schemas_are_listed_in_order_page_by_page);
async fn schemas_are_listed_in_order_page_by_page(home: Home) {
    let bench = Bench::at(home).await;
    for (name, document) in [("b", "1"), ("B", "1"), ("a", "1"), ("a", "2")] {
        bench.store.put_schema(new(name, document)).await.unwrap();
    }
    let page = async |after, limit| {
        let found = bench.store.list_schemas(after, limit).await.unwrap();
        assert!(found.iter().all(|it| it.document.is_empty()));
        let rows = found.into_iter().map(|it| (it.id, it.revision));
        rows.collect::<Vec<_>>()
    };
    let all = page(None, 10).await;
    let names: Vec<_> = all.iter().map(|(id, n)| (id.as_str(), *n)).collect();
    assert_eq!(names, [("B", 1), ("a", 1), ("a", 2), ("b", 1)]);
    assert_eq!(page(Some(("a", 1)), 1).await, [("a".to_owned(), 2)]);
    assert!(page(Some(("b", 1)), 10).await.is_empty());
    bench.close().await;
}

both!(one_revision_or_all_are_removed);
async fn one_revision_or_all_are_removed(home: Home) {
    let bench = Bench::at(home).await;
    for document in ["1", "2", "3"] {
        bench.store.put_schema(new(ORDER, document)).await.unwrap();
    }
    bench.store.put_schema(new("other", "1")).await.unwrap();
    let remove = async |revision| {
        let removed = bench.store.remove_schema(&id(ORDER), revision).await;
        removed.unwrap()
    };
    assert_eq!(remove(Some(2)).await, 1);
    for nobodys in [0, 2, -1] {
        assert_eq!(remove(Some(nobodys)).await, 0);
    }
    assert_eq!(remove(None).await, 2);
    assert_eq!(bench.store.list_schemas(None, 10).await.unwrap().len(), 1);
    bench.close().await;
}

both!(every_change_shows_in_the_generation);
async fn every_change_shows_in_the_generation(home: Home) {
    let bench = Bench::at(home).await;
    let generation = async || bench.store.schema_generation().await.unwrap();
    let first = generation().await;
    bench.store.put_schema(new(ORDER, "{}")).await.unwrap();
    let put = generation().await;
    let order = id(ORDER);
    let now = Timestamp::from_millis(NOW);
    let set = bench
        .store
        .set_schema_state((&order, 1), SchemaState::Retired, "x", now);
    set.await.unwrap();
    let set = generation().await;
    bench.store.remove_schema(&order, None).await.unwrap();
    let removed = generation().await;
    assert!(first < put && put < set && set < removed);
    bench.close().await;
}

both!(there_are_only_so_many_revisions);
async fn there_are_only_so_many_revisions(home: Home) {
    let bench = Bench::at(home).await;
    let fill = "INSERT INTO schemas (id, revision, state, document, sha256, created_at, changed_at, changed_by) \
                WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) \
                SELECT 'many', i, 'draft', ";
    let empty = match bench.home {
        Home::Sqlite(_) => "x'', x''",
        Home::Postgres(_) => "'\\x'::bytea, '\\x'::bytea",
    };
    let statement = format!("{fill} {empty}, 1, 1, 'x' FROM n");
    bench.home.run(&statement).await;
    let put = bench.store.put_schema(new(ORDER, "{}")).await.unwrap();
    assert_eq!(put, PutSchema::TooMany);
    bench.close().await;
}
