//! Revisions and their states; versions that must go together.

use super::*;

#[tokio::test]
async fn a_schema_is_tried_before_it_counts() {
    let bench = Bench::new().await;
    let schemas = bench.open().await.unwrap();
    let count = |outcome| bench.metrics.schemas().judgements(outcome);
    let state = async |state| {
        let place = (&id(ORDER), None);
        schemas.set_state(place, state, "test").await.unwrap()
    };
    let draft = submission(ORDER, &order("a"), SchemaState::Draft);
    assert_eq!(schemas.put(draft).await.unwrap(), (id(ORDER), 1, true));
    assert_eq!(schemas.judge(&id(ORDER), "{}").await, Judgement::Unknown);
    assert_eq!(state(SchemaState::Accepted).await, Some(1));
    assert_eq!(schemas.judge(&id(ORDER), "{}").await, Judgement::Valid);
    assert_eq!((count("recorded"), count("unknown")), (1, 1));
    state(SchemaState::Required).await;
    assert_eq!(refused(&schemas.judge(&id(ORDER), "{}").await), "a");
    // A second revision on trial: the first still counts.
    let mut second = submission(ORDER, &order("b"), SchemaState::Accepted);
    second.mode = None;
    assert_eq!(schemas.put(second).await.unwrap().1, 2);
    assert_eq!(refused(&schemas.judge(&id(ORDER), "{}").await), "a");
    assert_eq!(
        schemas.judge(&id(ORDER), r#"{"a":1}"#).await,
        Judgement::Valid
    );
    assert_eq!((count("recorded"), count("faults")), (2, 2));
    state(SchemaState::Required).await;
    assert_eq!(refused(&schemas.judge(&id(ORDER), r#"{"a":1}"#).await), "b");
    state(SchemaState::Retired).await;
    assert_eq!(refused(&schemas.judge(&id(ORDER), r#"{"b":1}"#).await), "a");
    assert_eq!(schemas.remove(&id(ORDER), Some(1)).await.unwrap(), 1);
    assert_eq!(schemas.judge(&id(ORDER), "{}").await, Judgement::Unknown);
    bench.close().await;
}

#[tokio::test]
async fn a_version_that_does_not_go_with_the_one_before_is_not_stored() {
    let bench = Bench::new().await;
    let schemas = bench.open().await.unwrap();
    let put = async |name: &str, document: &Value, mode: Option<Mode>| {
        let mut it = submission(name, document, SchemaState::Required);
        it.mode = mode;
        schemas.put(it).await
    };
    put(ORDER, &json!({"required": ["a"]}), Some(Mode::Full))
        .await
        .unwrap();
    let narrower = json!({"required": ["a", "b"]});
    for (name, against) in [
        (ORDER, "agntcy:commerce.order.v1 (revision 1)"),
        (
            "agntcy:commerce.order.v4",
            "agntcy:commerce.order.v1 (revision 1)",
        ),
    ] {
        match put(name, &narrower, Some(Mode::Backward)).await {
            Err(PutFault::Breaks {
                against: named,
                breaks,
            }) => {
                assert_eq!(named, against);
                assert_eq!(breaks[0].path, "b");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(schemas.list(None, 10).await.unwrap().len(), 1);
    // Another family, forward, and whoever insists.
    put("agntcy:commerce.bill.v2", &narrower, Some(Mode::Full))
        .await
        .unwrap();
    put(ORDER, &narrower, Some(Mode::Forward)).await.unwrap();
    put("agntcy:commerce.order.v4", &json!(false), None)
        .await
        .unwrap();
    bench.close().await;
}

#[tokio::test]
async fn a_document_that_cannot_be_used_is_not_stored() {
    let bench = Bench::new().await;
    let schemas = bench.open().await.unwrap();
    for document in [
        json!({"type": 7}),
        json!({"$ref": "http://127.0.0.1:1/s"}),
        json!({"$ref": "#"}),
        json!({"x-amtp-schema": "agntcy:commerce.order.v2"}),
        json!({"description": "x".repeat(5 * MOST_BYTES)}),
        json!([]),
    ] {
        let put = schemas.put(submission(ORDER, &document, SchemaState::Required));
        assert!(matches!(put.await, Err(PutFault::Document(_))));
    }
    let mut nameless = submission(ORDER, &json!({}), SchemaState::Required);
    nameless.id = None;
    assert!(matches!(
        schemas.put(nameless).await,
        Err(PutFault::Document(_))
    ));
    assert!(schemas.list(None, 10).await.unwrap().is_empty());
    bench.close().await;
}

#[tokio::test]
async fn files_and_revisions_are_listed_shown_and_tried() {
    let bench = Bench::new().await;
    bench.write("order.json", &order("a"));
    bench.write("z.json", &json!({"$id": "z"}));
    let schemas = bench.open().await.unwrap();
    for document in [
        json!({"type": "string"}),
        json!({"type": ["string", "null"]}),
    ] {
        schemas
            .put(submission("m", &document, SchemaState::Draft))
            .await
            .unwrap();
    }
    let page = async |after, limit| {
        let list = schemas.list(after, limit).await.unwrap();
        let rows = list.into_iter().map(|it| (it.id, it.revision, it.source));
        rows.collect::<Vec<_>>()
    };
    let row = |id: &str, revision, source| (id.to_owned(), revision, source);
    let all = [
        row(ORDER, 0, Source::Directory),
        row("m", 1, Source::Store),
        row("m", 2, Source::Store),
        row("z", 0, Source::Directory),
    ];
    assert_eq!(page(None, 10).await, all);
    assert_eq!(page(None, 2).await, all[..2]);
    assert_eq!(page(Some(("m", 1)), 10).await, all[2..]);
    let found = async |name: &str, revision| {
        let found = schemas.find(&id(name), revision).await.unwrap();
        found.map(|it| it.info.revision)
    };
    assert_eq!(found(ORDER, None).await, Some(0));
    assert_eq!(found("m", None).await, Some(2));
    assert_eq!(found("m", Some(0)).await, None);
    assert_eq!(found("m", Some(1)).await, Some(1));
    assert_eq!(found("nobody", None).await, None);
    let tried = async |name: &str, revision, payload: &str| {
        let tried = schemas.try_payload(&id(name), revision, payload).await;
        tried.unwrap().map(|faults| faults.len())
    };
    assert_eq!(tried("m", Some(1), "null").await, Some(1));
    assert_eq!(tried("m", None, "null").await, Some(0));
    assert_eq!(tried("nobody", None, "null").await, None);
    bench.close().await;
}
