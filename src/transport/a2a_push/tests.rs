//! The worker against real receivers, on both databases.

mod world;

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::net::AddressFilter;
use crate::store::tests::{Home, both};
use crate::task::{Artifact, ArtifactUpdate, Change, Message, Part, TaskState};
use world::{Receiver, World, inside};

/// How older dialects are written.
const OLD: OldTask = crate::endpoint::a2a::old_task;

fn artifact(text: &str, append: bool) -> Change {
    Change::Artifact(ArtifactUpdate {
        task_id: "t".to_owned(),
        context_id: "c".to_owned(),
        artifact: Artifact {
            artifact_id: "a".to_owned(),
            name: None,
            description: None,
            parts: vec![Part::text(text)],
            metadata: None,
            extensions: Vec::new(),
        },
        append,
        last_chunk: append,
        metadata: None,
    })
}

both!(a_receiver_gets_every_event_in_order_with_what_it_gave);
async fn a_receiver_gets_every_event_in_order_with_what_it_gave(home: Home) {
    let world = World::at(home).await;
    let mut receiver = world.receiver(&[]).await;
    let worker = world.worker(inside());
    world
        .open("t", &[receiver.place("p", Dialect::V1, Some("tok"))])
        .await;
    world.state("t", TaskState::Working).await;
    let first = receiver.next().await;
    assert_eq!(first.header("content-type"), "application/a2a+json");
    assert_eq!(first.header("x-a2a-notification-token"), "tok");
    assert_eq!(first.header("authorization"), "Bearer s3cret");
    assert_eq!(first.path, "/in?x=1");
    assert_eq!(
        first.body["statusUpdate"]["status"]["state"],
        "TASK_STATE_WORKING"
    );
    assert_eq!(first.body["statusUpdate"]["taskId"], "t");
    world
        .change("t", &[artifact("one", false), artifact("two", true)])
        .await;
    world.state("t", TaskState::Completed).await;
    let mut texts = Vec::new();
    for _ in 0..2 {
        let got = receiver.next().await.body;
        let update = &got["artifactUpdate"];
        texts.push(update["artifact"]["parts"][0]["text"].clone());
        assert_eq!(got.as_object().unwrap().len(), 1, "one member: {got}");
    }
    assert_eq!(texts, [json!("one"), json!("two")]);
    let last = receiver.next().await.body;
    assert_eq!(
        last["statusUpdate"]["status"]["state"],
        "TASK_STATE_COMPLETED"
    );
    world.all_is_posted().await;
    assert_eq!(receiver.waiting(), 0, "nothing came twice");
    assert!(
        world
            .metrics()
            .contains(r#"amtp_a2a_pushes_total{outcome="delivered"} 4"#)
    );
    // The place is there still: its client takes it away, or it goes with the task.
    assert_eq!(world.places("t").await.len(), 1);
    world.close(worker).await;
}

both!(receivers_of_older_dialects_get_the_whole_task);
async fn receivers_of_older_dialects_get_the_whole_task(home: Home) {
    let world = World::at(home).await;
    let mut third = world.receiver(&[]).await;
    let mut first = world.receiver(&[]).await;
    let worker = world.worker(inside());
    let places = [
        third.place("p3", Dialect::V03, Some("tok")),
        first.place("p1", Dialect::V01, None),
    ];
    world.open("t", &places).await;
    world.change("t", &[artifact("one", false)]).await;
    world.state("t", TaskState::Completed).await;
    let whole = async |receiver: &mut Receiver, state: &str| loop {
        // One request may stand for several events.
        let got = receiver.next().await;
        assert_eq!(got.header("content-type"), "application/json");
        if got.body["status"]["state"] == state {
            return got;
        }
    };
    let got = whole(&mut third, "completed").await;
    assert_eq!(got.header("x-a2a-notification-token"), "tok");
    assert_eq!(
        (&got.body["kind"], &got.body["id"]),
        (&json!("task"), &json!("t"))
    );
    assert_eq!(got.body["artifacts"][0]["parts"][0]["kind"], "text");
    assert_eq!(got.body["history"][0]["role"], "agent");
    let got = whole(&mut first, "completed").await;
    assert_eq!(got.headers.get("authorization"), None);
    assert_eq!(
        (&got.body["id"], &got.body["sessionId"]),
        (&json!("mine"), &json!("c"))
    );
    assert_eq!(got.body["artifacts"][0]["index"], 0);
    world.all_is_posted().await;
    world.close(worker).await;
}

both!(a_receiver_that_fails_gets_the_same_again_and_nothing_overtakes_it);
async fn a_receiver_that_fails_gets_the_same_again_and_nothing_overtakes_it(home: Home) {
    let world = World::at(home).await;
    let mut receiver = world.receiver(&[500, 503, 429]).await;
    let worker = world.worker(inside());
    world
        .open("t", &[receiver.place("p", Dialect::V1, None)])
        .await;
    world.state("t", TaskState::Working).await;
    let first = receiver.next().await.body;
    world.state("t", TaskState::Completed).await;
    for failures in 1..=3 {
        world.failed(failures).await;
        assert_eq!(receiver.next_in_time(&world).await.body, first);
    }
    let last = receiver.next().await.body;
    assert_eq!(
        last["statusUpdate"]["status"]["state"],
        "TASK_STATE_COMPLETED"
    );
    world.all_is_posted().await;
    assert_eq!(receiver.waiting(), 0);
    let metrics = world.metrics();
    assert!(
        metrics.contains(r#"amtp_a2a_pushes_total{outcome="deferred"} 3"#),
        "{metrics}"
    );
    world.close(worker).await;
}

both!(a_receiver_that_refuses_is_given_up_soon_and_a_redirect_is_a_refusal);
async fn a_receiver_that_refuses_is_given_up_soon_and_a_redirect_is_a_refusal(home: Home) {
    let world = World::at(home).await;
    let worker = world.worker(inside());
    for (n, status) in [(1, 404), (2, 302), (3, 410)] {
        let mut receiver = world.receiver(&[status; 3]).await;
        let task = format!("t{status}");
        world
            .open(&task, &[receiver.place("p", Dialect::V1, None)])
            .await;
        world.state(&task, TaskState::Working).await;
        assert_eq!(receiver.next().await.path, "/in?x=1");
        for _ in 0..2 {
            assert_eq!(receiver.next_in_time(&world).await.path, "/in?x=1");
        }
        world
            .until(async || world.places(&task).await.is_empty())
            .await;
        assert_eq!(receiver.waiting(), 0);
        let line = format!(r#"amtp_a2a_pushes_total{{outcome="given_up"}} {n}"#);
        assert!(world.metrics().contains(&line), "{}", world.metrics());
    }
    world.close(worker).await;
}

both!(an_address_that_is_not_public_is_never_called);
async fn an_address_that_is_not_public_is_never_called(home: Home) {
    let world = World::at(home).await;
    let receiver = world.receiver(&[]).await;
    let worker = world.worker(AddressFilter::public());
    world
        .open("t", &[receiver.place("p", Dialect::V1, Some("tok"))])
        .await;
    world.state("t", TaskState::Working).await;
    world
        .until(async || {
            world.pass_time().await;
            world.places("t").await.is_empty()
        })
        .await;
    assert_eq!(receiver.waiting(), 0);
    world.close(worker).await;
}

both!(a_receiver_that_hangs_holds_up_only_itself);
async fn a_receiver_that_hangs_holds_up_only_itself(home: Home) {
    let world = World::at(home).await;
    // It hangs once, then answers.
    let mut hangs = world.receiver(&[0]).await;
    let mut answers = world.receiver(&[]).await;
    let worker = world.worker(inside());
    let places = [
        hangs.place("a", Dialect::V1, None),
        answers.place("b", Dialect::V1, None),
    ];
    world.open("t", &places).await;
    world.state("t", TaskState::Working).await;
    let first = hangs.next().await.body;
    world.state("t", TaskState::Completed).await;
    for state in ["TASK_STATE_WORKING", "TASK_STATE_COMPLETED"] {
        let got = answers.next().await.body;
        assert_eq!(got["statusUpdate"]["status"]["state"], state);
    }
    world.clock.advance(LIMITS.time);
    world.failed(1).await;
    assert_eq!(hangs.next_in_time(&world).await.body, first);
    hangs.next().await;
    world.all_is_posted().await;
    world.close(worker).await;
}

both!(of_several_workers_one_posts_to_a_place);
async fn of_several_workers_one_posts_to_a_place(home: Home) {
    let world = World::at(home).await;
    let mut receiver = world.receiver(&[]).await;
    let workers = [world.worker(inside()), world.worker(inside())];
    world
        .open("t", &[receiver.place("p", Dialect::V1, None)])
        .await;
    for n in 0..20 {
        world.change("t", &[artifact(&n.to_string(), true)]).await;
    }
    for n in 0..20 {
        let got = receiver.next().await.body;
        let text = &got["artifactUpdate"]["artifact"]["parts"][0]["text"];
        assert_eq!(*text, json!(n.to_string()));
    }
    world.all_is_posted().await;
    assert_eq!(receiver.waiting(), 0);
    for worker in workers {
        worker.stop.cancel();
        worker.done.await.unwrap();
    }
    world.end().await;
}

both!(what_was_under_way_when_a_worker_died_is_posted_again);
async fn what_was_under_way_when_a_worker_died_is_posted_again(home: Home) {
    let world = World::at(home).await;
    let mut receiver = world.receiver(&[]).await;
    world
        .open("t", &[receiver.place("p", Dialect::V1, None)])
        .await;
    world.state("t", TaskState::Working).await;
    // A worker takes it and is never heard of again.
    let now = Some(world.now());
    let taken = world.store.take_due_pushes(now, HOLD, 9).await.unwrap();
    assert_eq!(taken.len(), 1);
    let worker = world.worker(inside());
    let got: Value = match world.store.is_shared() {
        // Another gateway may have it.
        true => {
            world.clock.advance(HOLD - Duration::from_secs(1));
            let early = world.store.take_due_pushes(Some(world.now()), HOLD, 9);
            assert!(early.await.unwrap().is_empty());
            receiver.next_in_time(&world).await.body
        }
        false => receiver.next().await.body,
    };
    assert_eq!(got["statusUpdate"]["status"]["state"], "TASK_STATE_WORKING");
    world.all_is_posted().await;
    // The dead one's word counts no more.
    let late = world
        .store
        .settle_push(&taken[0], Pushed::GivenUp, world.now())
        .await
        .unwrap();
    assert!(!late);
    assert_eq!(world.places("t").await.len(), 1);
    world.close(worker).await;
}

both!(a_client_that_was_answered_directly_is_shown_no_task);
async fn a_client_that_was_answered_directly_is_shown_no_task(home: Home) {
    let world = World::at(home).await;
    let mut receiver = world.receiver(&[]).await;
    let old = world.receiver(&[]).await;
    let worker = world.worker(inside());
    let places = [
        receiver.place("p", Dialect::V1, None),
        old.place("o", Dialect::V03, None),
    ];
    world.open_held("t", &places).await;
    let answer = Message::of_agent("m", "42").placed(("t", "c"));
    world.change("t", &[Change::Answer(answer)]).await;
    let got = receiver.next().await.body;
    assert_eq!(got["message"]["parts"][0]["text"], "42");
    world.all_is_posted().await;
    assert_eq!(old.waiting(), 0);
    world.close(worker).await;
}

both!(a_place_that_cannot_be_called_is_taken_away);
async fn a_place_that_cannot_be_called_is_taken_away(home: Home) {
    let world = World::at(home).await;
    let receiver = world.receiver(&[]).await;
    let mut place = receiver.place("p", Dialect::V1, None);
    place.url = "https://[".to_owned();
    let worker = world.worker(inside());
    world.open("t", &[place]).await;
    world.state("t", TaskState::Working).await;
    world
        .until(async || world.places("t").await.is_empty())
        .await;
    world.close(worker).await;
}
