//! Tasks: what is opened, changed, listed, posted and forgotten, and what goes with it.

mod ended;
mod posted;
mod shown;
mod under_load;

use super::super::{
    Acceptance, Advance, Advanced, ArtifactPiece, Direction, NewPush, NewStatus, NewTask,
    OpenedTask, Otherwise, TaskParts, TaskStep, WholeTask, task_topic,
};
use super::{Bench, Decision, Fate, Home, NOW, Plan, Planned, Timestamp, to_inbox};
use crate::events::Topic;
use crate::protocol::{Address, DeliveryStatus, ErrorCode, MessageId};

const SUBMITTED: i64 = 1;
const WORKING: i64 = 2;
const COMPLETED: i64 = 3;
const CANCELED: i64 = 5;
/// Every state that is not terminal.
const OPEN: u16 = 1 << 1 | 1 << 2 | 1 << 6 | 1 << 8;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(NOW + millis)
}

fn new_task(id: &str) -> NewTask {
    NewTask {
        id: id.to_owned(),
        agent: 7,
        owner: "agent:1".to_owned(),
        context: "c".to_owned(),
        dialect: 10,
        alias: None,
        state: SUBMITTED,
        status: b"submitted".to_vec(),
        message: b"said".to_vec(),
        metadata: None,
        request: None,
        key: None,
        held_until: Timestamp::from_millis(0),
        deadline_at: None,
        push: None,
        now: at(0),
    }
}

fn advance(task: &str, steps: Vec<TaskStep>) -> Advance {
    Advance {
        task: task.to_owned(),
        from: OPEN,
        steps,
        link: None,
        key: None,
        now: at(10),
    }
}

fn status(state: i64, body: &str) -> TaskStep {
    TaskStep {
        from: OPEN,
        status: Some(NewStatus {
            state,
            body: body.as_bytes().to_vec(),
        }),
        event: Some(body.as_bytes().to_vec()),
        ..TaskStep::default()
    }
}

fn piece(artifact: &str, append: bool, body: &str) -> TaskStep {
    TaskStep {
        from: OPEN,
        event: Some(format!("event {body}").into_bytes()),
        artifact: Some(ArtifactPiece {
            artifact: artifact.to_owned(),
            append,
            body: body.as_bytes().to_vec(),
        }),
        ..TaskStep::default()
    }
}

fn push(id: &str) -> NewPush {
    NewPush {
        id: id.to_owned(),
        dialect: 10,
        url: format!("https://{id}.test/"),
        sealed: Some(vec![1, 2, 3]),
        now: at(0),
    }
}

impl Bench {
    async fn open_task(&self, task: NewTask) -> OpenedTask {
        self.store.open_task(task, None).await.unwrap()
    }

    async fn step(&self, task: &str, steps: Vec<TaskStep>) -> Advanced {
        let advance = advance(task, steps);
        self.store.advance_task(advance, None).await.unwrap()
    }

    async fn task_of(&self, id: &str) -> WholeTask {
        let row = self.store.find_any_task(id).await.unwrap().unwrap();
        let whole = self.store.whole_task(row, TaskParts::ALL).await.unwrap();
        whole.unwrap()
    }

    async fn log(&self, task: &str, after: i64) -> Vec<(i64, String)> {
        let events = self.store.task_events(task, after, 100).await.unwrap();
        let events = events.into_iter();
        events
            .map(|event| (event.seq, String::from_utf8(event.body).unwrap()))
            .collect()
    }

    fn asking(&self, mailbox: i64) -> Acceptance {
        Acceptance {
            envelope: self.envelope("a2a+t@a.test", None, "1"),
            recipients: vec![to_inbox("bob@a.test", mailbox)],
            reserved: None,
            place: None,
            succession: None,
            blobs: Vec::new(),
        }
    }
}

fn texts(bodies: &[Vec<u8>]) -> Vec<&str> {
    let text = |body| std::str::from_utf8(body).unwrap();
    bodies.iter().map(|body| text(body.as_slice())).collect()
}

const fn is_done(advanced: &Advanced) -> bool {
    matches!(advanced, Advanced::Done { .. })
}

both!(a_task_and_its_message_are_stored_together_and_survive_a_restart);
async fn a_task_and_its_message_are_stored_together_and_survive_a_restart(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let asking = bench.asking(bob);
    let request = asking.envelope.message_id.clone();
    let task = NewTask {
        request: Some(request.clone()),
        metadata: Some(b"{}".to_vec()),
        deadline_at: Some(at(500)),
        ..new_task("t")
    };
    let opened = bench.store.open_task(task, Some(asking)).await.unwrap();
    let OpenedTask::New(Some(Decision::Taken { fates, .. })) = opened else {
        panic!("{opened:?}");
    };
    assert_eq!(fates, [Fate::New(DeliveryStatus::Delivered)]);
    let bench = Bench::at(bench.close().await).await;
    assert_eq!(bench.mail(bob).await, [request.as_str()]);
    let whole = bench.task_of("t").await;
    assert_eq!((whole.row.state, whole.row.seq), (SUBMITTED, 0));
    assert_eq!(whole.row.metadata.as_deref(), Some(b"{}".as_slice()));
    assert_eq!(whole.row.deadline_at, Some(at(500)));
    assert_eq!(texts(&whole.history), ["said"]);
    let found = bench.store.find_task_of_message(&request).await.unwrap();
    assert_eq!(found.unwrap().id, "t");
    assert_eq!(
        bench.store.last_task_message("t").await.unwrap(),
        Some(request)
    );
    bench.close().await;
}

both!(a_stranger_cannot_tell_a_foreign_task_from_none);
async fn a_stranger_cannot_tell_a_foreign_task_from_none(home: Home) {
    let bench = Bench::at(home).await;
    bench.open_task(new_task("t")).await;
    let find = async |id, owner| bench.store.find_task(id, owner).await.unwrap().is_some();
    assert!(find("t", "agent:1").await);
    assert!(!find("t", "agent:2").await);
    assert!(!find("t", "anonymous:t").await);
    assert!(!find("u", "agent:1").await);
    bench.close().await;
}

both!(a_task_that_ended_never_changes);
async fn a_task_that_ended_never_changes(home: Home) {
    let bench = Bench::at(home).await;
    bench
        .open_task(NewTask {
            deadline_at: Some(at(5)),
            ..new_task("t")
        })
        .await;
    assert_eq!(bench.store.overdue_tasks(at(5), 9).await.unwrap().len(), 1);
    assert!(
        bench
            .store
            .overdue_tasks(at(4), 9)
            .await
            .unwrap()
            .is_empty()
    );
    let done = bench
        .step("t", vec![status(WORKING, "w"), status(COMPLETED, "done")])
        .await;
    assert_eq!(
        done,
        Advanced::Done {
            state: COMPLETED,
            seq: 2,
            decision: None
        }
    );
    let before = bench.task_of("t").await;
    assert_eq!(before.row.changed_at, at(10));
    for late in [
        status(CANCELED, "x"),
        piece("a", true, "x"),
        status(WORKING, "x"),
    ] {
        assert_eq!(
            bench.step("t", vec![late]).await,
            Advanced::Refused(COMPLETED)
        );
    }
    assert_eq!(bench.task_of("t").await, before);
    assert_eq!(bench.log("t", 0).await.len(), 2);
    assert_eq!(
        bench.step("u", vec![status(WORKING, "w")]).await,
        Advanced::Unknown
    );
    assert!(
        bench
            .store
            .overdue_tasks(at(99), 9)
            .await
            .unwrap()
            .is_empty()
    );
    bench.close().await;
}

both!(all_steps_are_taken_or_none);
async fn all_steps_are_taken_or_none(home: Home) {
    let bench = Bench::at(home).await;
    bench.open_task(new_task("t")).await;
    let before = bench.task_of("t").await;
    let steps = vec![status(COMPLETED, "done"), piece("a", false, "late")];
    assert_eq!(bench.step("t", steps).await, Advanced::Refused(COMPLETED));
    assert_eq!(bench.task_of("t").await, before);
    assert!(bench.log("t", 0).await.is_empty());
    let skipped = TaskStep {
        from: 1 << 6,
        otherwise: Otherwise::Skip,
        ..status(WORKING, "no")
    };
    assert!(is_done(
        &bench.step("t", vec![skipped, status(WORKING, "yes")]).await
    ));
    assert_eq!(bench.log("t", 0).await, [(1, "yes".to_owned())]);
    bench.close().await;
}

both!(what_comes_with_a_refused_change_is_not_stored);
async fn what_comes_with_a_refused_change_is_not_stored(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    bench.open_task(new_task("t")).await;
    let says = || {
        vec![TaskStep {
            from: OPEN,
            message: Some(b"more".to_vec()),
            ..TaskStep::default()
        }]
    };
    let send = async |steps| {
        let asking = bench.asking(bob);
        let link = (asking.envelope.message_id.clone(), Direction::Asked);
        let change = Advance {
            link: Some(link),
            ..advance("t", steps)
        };
        bench
            .store
            .advance_task(change, Some(asking))
            .await
            .unwrap()
    };
    let sent = send(says()).await;
    let Advanced::Done {
        decision: Some(Decision::Taken { .. }),
        ..
    } = sent
    else {
        panic!("{sent:?}");
    };
    assert_eq!(bench.mail(bob).await.len(), 1);
    bench.step("t", vec![status(COMPLETED, "done")]).await;
    assert_eq!(send(says()).await, Advanced::Refused(COMPLETED));
    assert_eq!(bench.mail(bob).await.len(), 1);
    assert_eq!(texts(&bench.task_of("t").await.history), ["said", "more"]);
    assert_eq!(bench.store.task_requests("t").await.unwrap().len(), 1);
    bench.close().await;
}

both!(an_answer_is_stored_with_the_change_it_makes_or_refused);
async fn an_answer_is_stored_with_the_change_it_makes_or_refused(home: Home) {
    let bench = Bench::at(home).await;
    bench.open_task(new_task("t")).await;
    let answer = async |key: Option<&str>, task: &str, step: TaskStep| {
        let envelope = bench.envelope("bob@a.test", key, "1");
        let id = envelope.message_id.clone();
        let change = Advance {
            link: Some((id.clone(), Direction::Answered)),
            ..advance(task, vec![step])
        };
        let recipient = Planned {
            address: Address::parse("a2a+t@a.test").unwrap(),
            plan: Plan::Bridge(Box::new(change)),
        };
        let (_, fates) = bench.accept(envelope, vec![recipient]).await;
        (id, fates)
    };
    let find = async |id: &MessageId| {
        let found = bench.store.find_message(id, &super::Party::Operator).await;
        found.unwrap().first().map(|it| it.recipients[0].status)
    };
    let question = TaskStep {
        message: Some(b"question".to_vec()),
        ..status(6, "question")
    };
    let (id, fates) = answer(Some("k"), "t", question.clone()).await;
    assert_eq!(fates, [Fate::New(DeliveryStatus::Delivered)]);
    assert_eq!(find(&id).await, Some(DeliveryStatus::Delivered));
    // What the client says next answers the agent's question.
    assert_eq!(bench.store.last_task_message("t").await.unwrap(), Some(id));
    // An answer that comes again changes nothing.
    let (_, fates) = answer(Some("k"), "t", question).await;
    assert!(matches!(fates[..], [Fate::Known(_)]));
    assert_eq!(bench.task_of("t").await.row.seq, 1);
    for (task, from, code) in [
        ("u", OPEN, ErrorCode::AgentUnknown),
        ("t", 1 << 1, ErrorCode::Conflict),
    ] {
        let step = TaskStep {
            from,
            ..status(WORKING, "w")
        };
        let (id, fates) = answer(None, task, step).await;
        assert_eq!(fates, [Fate::Refused(code)]);
        assert_eq!(find(&id).await, None);
    }
    let (_, fates) = answer(None, "t", status(COMPLETED, "done")).await;
    assert_eq!(fates, [Fate::New(DeliveryStatus::Delivered)]);
    let (id, fates) = answer(None, "t", status(COMPLETED, "again")).await;
    assert_eq!(fates, [Fate::Refused(ErrorCode::TaskTerminal)]);
    assert_eq!(find(&id).await, None);
    bench.close().await;
}

both!(a_message_nobody_takes_is_told);
async fn a_message_nobody_takes_is_told(home: Home) {
    let bench = Bench::at(home).await;
    let opened = bench
        .store
        .open_task(new_task("t"), Some(bench.asking(99)))
        .await
        .unwrap();
    let OpenedTask::New(Some(Decision::Taken { fates, .. })) = opened else {
        panic!("{opened:?}");
    };
    assert_eq!(fates, [Fate::Refused(ErrorCode::AgentUnknown)]);
    bench.close().await;
}

both!(a_request_that_is_repeated_opens_one_task);
async fn a_request_that_is_repeated_opens_one_task(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let keyed = |id: &str| NewTask {
        key: Some("k".to_owned()),
        ..new_task(id)
    };
    let open = async |task| {
        bench
            .store
            .open_task(task, Some(bench.asking(bob)))
            .await
            .unwrap()
    };
    assert!(matches!(open(keyed("t")).await, OpenedTask::New(Some(_))));
    assert_eq!(open(keyed("u")).await, OpenedTask::Known("t".to_owned()));
    assert_eq!(bench.mail(bob).await.len(), 1);
    assert!(bench.store.find_any_task("u").await.unwrap().is_none());
    let change = || Advance {
        key: Some("l".to_owned()),
        ..advance("t", vec![status(WORKING, "w")])
    };
    assert!(is_done(
        &bench.store.advance_task(change(), None).await.unwrap()
    ));
    let again = bench.store.advance_task(change(), None).await.unwrap();
    assert_eq!(again, Advanced::Known);
    assert_eq!(bench.log("t", 0).await.len(), 1);
    bench.close().await;
}

both!(a_name_of_an_early_client_goes_to_the_next_task_when_one_ended);
async fn a_name_of_an_early_client_goes_to_the_next_task_when_one_ended(home: Home) {
    let bench = Bench::at(home).await;
    let named = |id: &str, owner: &str| NewTask {
        alias: Some("mine".to_owned()),
        owner: owner.to_owned(),
        ..new_task(id)
    };
    let find = async |owner: &str| {
        let found = bench
            .store
            .find_task_by_alias((owner, 7), "mine")
            .await
            .unwrap();
        found.map(|row| row.id)
    };
    assert_eq!(
        bench.open_task(named("t", "agent:1")).await,
        OpenedTask::New(None)
    );
    let known = OpenedTask::Known("t".to_owned());
    assert_eq!(bench.open_task(named("u", "agent:1")).await, known);
    // Names are each principal's own.
    assert_eq!(
        bench.open_task(named("v", "agent:2")).await,
        OpenedTask::New(None)
    );
    assert_eq!(find("agent:1").await.as_deref(), Some("t"));
    assert_eq!(find("agent:2").await.as_deref(), Some("v"));
    assert_eq!(find("agent:3").await, None);
    bench.step("t", vec![status(COMPLETED, "done")]).await;
    assert_eq!(
        bench.open_task(named("w", "agent:1")).await,
        OpenedTask::New(None)
    );
    assert_eq!(find("agent:1").await.as_deref(), Some("w"));
    bench.close().await;
}

both!(who_waits_for_a_task_is_woken_by_its_changes);
async fn who_waits_for_a_task_is_woken_by_its_changes(home: Home) {
    let bench = Bench::at(home).await;
    bench
        .open_task(NewTask {
            push: Some(push("p")),
            ..new_task("t")
        })
        .await;
    let mut changes = bench.store.events().subscribe(task_topic("t"));
    let mut pushes = bench.store.events().subscribe(Topic::Pushes);
    bench.step("t", vec![status(WORKING, "w")]).await;
    changes.changed().await;
    pushes.changed().await;
    bench.close().await;
}
