//! How tasks end from our side: what is taken back, who is told, and what counts as lost.

use super::super::super::{
    Acceptance, Advance, Advanced, Direction, Ended, InboxQuery, NewTask, ReadFilter, Take,
};
use super::super::{Bench, Home, Plan, Planned};
use super::{
    CANCELED, COMPLETED, SUBMITTED, WORKING, advance, at, is_done, new_task, push, status,
};
use crate::envelope::Origin;
use crate::protocol::{Address, DeliveryStatus, ErrorCode, MessageId};
use crate::store::{Bounds, WhenFull};

impl Bench {
    /// A message of the task to `bob@a.test`.
    fn request(&self, plan: Plan) -> Acceptance {
        let mut envelope = self.envelope("a2a+t@a.test", None, "1");
        envelope.origin = Origin::A2a;
        Acceptance {
            envelope,
            recipients: vec![Planned {
                address: Address::parse("bob@a.test").unwrap(),
                plan,
            }],
            ..self.asking(0)
        }
    }

    /// A task with its request; answers the request's id.
    async fn requested(&self, task: &str, plan: Plan) -> MessageId {
        let request = self.request(plan);
        let id = request.envelope.message_id.clone();
        let task = NewTask {
            request: Some(id.clone()),
            ..new_task(task)
        };
        self.store.open_task(task, Some(request)).await.unwrap();
        id
    }

    async fn end(&self, task: &str, telling: Option<Acceptance>) -> Ended {
        let steps = vec![status(CANCELED, "canceled")];
        let end = self.store.end_task(advance(task, steps), telling);
        end.await.unwrap()
    }

    async fn mail_of(&self, mailbox: i64) -> Vec<MessageId> {
        let page = self.store.take_mail(InboxQuery {
            mailbox,
            limit: 9,
            offset: 0,
            after: 0,
            since: None,
            filter: ReadFilter::All,
            now: at(0),
            take: Take::Read,
        });
        let items = page.await.unwrap().items.into_iter();
        items.map(|item| item.message.message_id).collect()
    }

    async fn is_overdue(&self, task: &str) -> bool {
        let overdue = self.store.overdue_tasks(at(0), 9).await.unwrap();
        overdue.iter().any(|row| row.id == task)
    }
}

const fn to_bob(mailbox: i64) -> Plan {
    Plan::Inbox {
        mailbox,
        priority: None,
    }
}

fn queued() -> Plan {
    Plan::Queue {
        party: 7,
        destination: "agent:7".to_owned(),
        give_up_at: at(1_000_000),
        wire: None,
        reserved: None,
        terms: super::super::super::Terms::default(),
    }
}

both!(what_nobody_has_got_is_taken_back_and_nobody_is_told);
async fn what_nobody_has_got_is_taken_back_and_nobody_is_told(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    for (task, plan) in [("t", to_bob(bob)), ("q", queued())] {
        bench.requested(task, plan).await;
        let ended = bench.end(task, Some(bench.request(to_bob(bob)))).await;
        assert!(is_done(&ended.advanced) && !ended.had, "{task} {ended:?}");
        assert_eq!(bench.task_of(task).await.row.state, CANCELED);
        let lost = bench.store.lost_request(task).await.unwrap();
        assert_eq!(lost, Some((DeliveryStatus::Cancelled, None)));
        // It ended once.
        let again = bench.end(task, None).await;
        assert_eq!(again.advanced, Advanced::Refused(CANCELED));
        assert_eq!(bench.store.task_requests(task).await.unwrap().len(), 1);
    }
    assert!(bench.mail_of(bob).await.is_empty());
    let (waiting, _) = bench.store.queue_depth().await.unwrap();
    assert_eq!(waiting, 0);
    bench.close().await;
}

both!(an_agent_that_has_got_something_is_told);
async fn an_agent_that_has_got_something_is_told(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let inbox = || to_bob(bob);
    let first = bench.requested("t", inbox()).await;
    assert_eq!(bench.mail_of(bob).await, std::slice::from_ref(&first));
    // What is said more has not been fetched.
    let more = bench.request(inbox());
    let said = Advance {
        link: Some((more.envelope.message_id.clone(), Direction::Asked)),
        ..advance("t", vec![])
    };
    assert!(is_done(
        &bench.store.advance_task(said, Some(more)).await.unwrap()
    ));
    let telling = bench.request(inbox());
    let told = telling.envelope.message_id.clone();
    let ended = bench.end("t", Some(telling)).await;
    assert!(is_done(&ended.advanced) && ended.had);
    assert_eq!(bench.mail_of(bob).await, [first, told.clone()]);
    let newest = bench.store.newest_request("t").await.unwrap();
    assert_eq!(newest.unwrap().message_id, told);
    // Where it does not end, nobody is told and nothing is taken back.
    let open = bench.requested("u", inbox()).await;
    bench.step("u", vec![status(COMPLETED, "done")]).await;
    let ended = bench.end("u", Some(bench.request(inbox()))).await;
    assert_eq!(
        (ended.advanced, ended.had),
        (Advanced::Refused(COMPLETED), false)
    );
    let mail = bench.mail_of(bob).await;
    assert_eq!((mail.len(), &mail[2]), (3, &open));
    bench.close().await;
}

both!(an_agent_that_has_dealt_with_a_request_has_got_it);
async fn an_agent_that_has_dealt_with_a_request_has_got_it(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let request = bench.requested("t", to_bob(bob)).await;
    bench.mail_of(bob).await;
    let acknowledged = bench.store.acknowledge(bob, vec![request], at(0)).await;
    assert_eq!(acknowledged.unwrap(), [true]);
    assert!(bench.end("t", None).await.had);
    bench.close().await;
}

both!(a_lost_request_makes_its_task_due);
async fn a_lost_request_makes_its_task_due(home: Home) {
    let bench = Bench::at(home).await;
    for task in ["t", "u", "done"] {
        bench.requested(task, queued()).await;
        assert!(!bench.is_overdue(task).await);
    }
    bench.step("done", vec![status(COMPLETED, "done")]).await;
    for task in ["t", "done"] {
        let newest = bench.store.newest_request(task).await.unwrap().unwrap();
        let cancelled = bench.store.cancel(vec![newest.mid], at(0)).await;
        assert_eq!(cancelled.unwrap(), 1);
    }
    assert!(bench.is_overdue("t").await);
    assert!(!bench.is_overdue("u").await && !bench.is_overdue("done").await);
    assert_eq!(bench.store.lost_request("u").await.unwrap(), None);
    bench.close().await;
}

both!(a_request_that_a_full_mailbox_gives_up_is_lost);
async fn a_request_that_a_full_mailbox_gives_up_is_lost(home: Home) {
    let bench = Bench::at(home).await;
    let one = Bounds {
        messages: Some(1),
        when_full: Some(WhenFull::DeadLetter),
        ..Bounds::default()
    };
    let bob = bench.bounded("bob", one).await;
    bench.requested("t", to_bob(bob)).await;
    assert!(!bench.is_overdue("t").await);
    bench.requested("u", to_bob(bob)).await;
    assert!(bench.is_overdue("t").await && !bench.is_overdue("u").await);
    let lost = bench.store.lost_request("t").await.unwrap();
    let full = (DeliveryStatus::Failed, Some(ErrorCode::MailboxFull));
    assert_eq!(lost, Some(full));
    // What is taken back leaves room.
    bench.counts_right(bob, 1).await;
    assert!(!bench.end("u", None).await.had);
    bench.counts_right(bob, 0).await;
    bench.close().await;
}

both!(tasks_of_an_agent_that_is_gone_are_due);
async fn tasks_of_an_agent_that_is_gone_are_due(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let of_bob = NewTask {
        agent: bob,
        ..new_task("t")
    };
    bench.open_task(of_bob).await;
    bench.open_task(new_task("u")).await;
    assert!(bench.store.delete_agent(bob, at(0)).await.unwrap());
    assert!(bench.is_overdue("t").await && !bench.is_overdue("u").await);
    bench.close().await;
}

both!(tasks_are_counted_by_their_state);
async fn tasks_are_counted_by_their_state(home: Home) {
    let bench = Bench::at(home).await;
    assert_eq!(bench.store.count_tasks().await.unwrap().states, []);
    for id in ["a", "b", "c"] {
        bench
            .open_task(NewTask {
                push: Some(push("p")),
                ..new_task(id)
            })
            .await;
    }
    bench.step("c", vec![status(WORKING, "w")]).await;
    let mut counts = bench.store.count_tasks().await.unwrap();
    counts.states.sort_unstable();
    assert_eq!(counts.states, [(SUBMITTED, 2), (WORKING, 1)]);
    assert_eq!(counts.receivers, 1);
    bench.close().await;
}
