//! The operator's hands on the queue, and what becomes of it when an agent goes.

use std::time::Duration;

use super::super::{
    AttemptNote, Ending, Feed, Marks, Position, QueueFilter, QueueRow, QueueState, QueuedDelivery,
    Reason, Settlement, Step, WireIdentity, party_hash,
};
use super::{
    Address, Bench, DeliveryStatus, Domain, ErrorCode, Home, IdempotencyKey, MessageId, NOW, Party,
    Plan, Planned, RetentionRules, Terms, Timestamp, Topic, new_agent, to_queue,
};

pub(super) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(NOW).plus(Duration::from_secs(seconds))
}

/// A recipient behind another gateway.
pub(super) fn abroad(address: &str) -> Planned {
    let address = Address::parse(address).unwrap();
    let plan = Plan::Queue {
        party: party_hash(&address.key()),
        destination: format!("domain:{}", address.domain().as_str()),
        give_up_at: at(3_600),
        wire: None,
        reserved: None,
        terms: Terms::default(),
    };
    Planned { address, plan }
}

pub(super) fn rules() -> RetentionRules {
    RetentionRules {
        settled: Duration::from_secs(60),
        acknowledged: Duration::from_secs(60),
        dead_letters: Duration::from_secs(600),
    }
}

impl Bench {
    pub(super) async fn queue(&self, filter: &QueueFilter) -> Vec<QueuedDelivery> {
        self.store.list_deliveries(filter, 0, 10_000).await.unwrap()
    }

    pub(super) async fn fed(&self) -> Vec<QueueRow> {
        self.store.feed(&Feed::After(0), 10_000).await.unwrap()
    }

    /// What an attempt came to.
    pub(super) async fn settlement(&self, row: &QueueRow, fate: Ending) -> Settlement {
        let delivery = self.store.load_deliveries(&[row.seq]).await.unwrap();
        Settlement {
            seq: row.seq,
            mid: row.mid,
            recipient: delivery[0].recipient.to_string(),
            at: at(10),
            held: None,
            attempt: Some(AttemptNote {
                made_at: at(9),
                took: 40,
                remote: Some("192.0.2.1:443".to_owned()),
            }),
            fate,
        }
    }

    pub(super) async fn settle(&self, row: &QueueRow, fate: Ending) {
        let settlement = self.settlement(row, fate).await;
        self.store
            .settle(vec![settlement], Vec::new())
            .await
            .unwrap();
    }

    pub(super) async fn status(&self, id: &MessageId) -> Vec<DeliveryStatus> {
        let tracked = self.store.find_message(id, &Party::Operator).await.unwrap();
        tracked[0].recipients.iter().map(|it| it.status).collect()
    }
}

pub(super) fn deferred(due_at: Timestamp, marks: Marks) -> Ending {
    Ending::Deferred {
        due_at,
        reason: Reason {
            code: ErrorCode::RecipientUnavailable,
            text: "no connection".to_owned(),
        },
        marks,
    }
}

const ALL: QueueFilter = QueueFilter {
    destination: None,
    domain: None,
    sender: None,
    recipient: None,
    message_id: None,
    state: None,
};

fn changed(step: Step) -> (u64, bool) {
    (step.changed, step.next.is_some())
}

both!(a_held_delivery_stays_held_over_a_restart_and_comes_back_at_the_end);
async fn a_held_delivery_stays_held_over_a_restart_and_comes_back_at_the_end(home: Home) {
    let bench = Bench::at(home).await;
    let send = || bench.envelope("alice@a.test", None, "1");
    let (first, _) = bench.accept(send(), vec![abroad("x@b.test")]).await;
    let (second, _) = bench.accept(send(), vec![abroad("y@b.test")]).await;
    let rows = bench.fed().await;
    let marks = Marks {
        loose: true,
        renew: true,
        ..Marks::default()
    };
    bench.settle(&rows[0], deferred(at(60), marks)).await;
    let to_x = QueueFilter {
        recipient: Some(Address::parse("X@b.test").unwrap()),
        ..ALL
    };
    let mut control = bench.store.events().subscribe(Topic::Control);
    let held = bench.store.hold(&to_x, Position::START).await.unwrap();
    assert_eq!(changed(held), (1, false));
    control.changed().await;
    assert_eq!(bench.status(&first).await, [DeliveryStatus::Held]);

    let bench = Bench::at(bench.close().await).await;
    assert_eq!(bench.status(&first).await, [DeliveryStatus::Held]);
    let loose = bench.store.feed(&Feed::Loose(at(99_999)), 10).await;
    let over = bench.store.feed(&Feed::GivenUp(at(99_999)), 10).await;
    assert!(loose.unwrap().is_empty(), "it is not tried");
    assert_eq!(over.unwrap().len(), 1, "only the other one is given up");

    let mut queue = bench.store.events().subscribe(Topic::Queue);
    let now = at(7_200);
    let step = bench.store.release(&ALL, Position::START, now).await;
    assert_eq!(changed(step.unwrap()), (1, false));
    queue.changed().await;
    let rows = bench.fed().await;
    let seqs: Vec<i64> = rows.iter().map(|row| row.seq).collect();
    assert_eq!(seqs, [2, 3], "under a new number, out of no lane");
    assert_eq!(bench.store.latest_delivery(rows[1].lane), 3);
    assert_eq!((rows[1].loose, rows[1].deferred_until), (false, None));
    let back = bench.store.load_deliveries(&[3]).await.unwrap().remove(0);
    assert_eq!(back.stored.message_id, first);
    assert_eq!(back.give_up_at, now.plus(Duration::from_secs(3_600)));
    assert_eq!((back.attempts, back.renew), (1, true));

    let bench = Bench::at(bench.close().await).await;
    let send = bench.envelope("alice@a.test", None, "1");
    bench.accept(send, vec![abroad("z@b.test")]).await;
    let numbers: Vec<i64> = bench.fed().await.iter().map(|row| row.seq).collect();
    assert_eq!(numbers, [2, 3, 4], "a new number is not given twice");
    assert_eq!(bench.status(&second).await, [DeliveryStatus::Queued]);
}

both!(a_time_that_is_left_is_not_shortened_by_a_release);
async fn a_time_that_is_left_is_not_shortened_by_a_release(home: Home) {
    let bench = Bench::at(home).await;
    let send = bench.envelope("alice@a.test", None, "1");
    bench.accept(send, vec![abroad("x@b.test")]).await;
    bench.store.hold(&ALL, Position::START).await.unwrap();
    let early = Timestamp::from_millis(NOW).minus(Duration::from_secs(600));
    bench
        .store
        .release(&ALL, Position::START, early)
        .await
        .unwrap();
    assert_eq!(bench.queue(&ALL).await[0].give_up_at, at(3_600));
}

both!(long_work_goes_in_steps_and_leaves_alone_what_comes_later);
async fn long_work_goes_in_steps_and_leaves_alone_what_comes_later(home: Home) {
    let bench = Bench::at(home).await;
    let many = (0..1_100).map(|n| abroad(&format!("r{n}@b.test")));
    let send = bench.envelope("alice@a.test", None, "1");
    bench.accept(send, many.collect()).await;
    let to_b = QueueFilter {
        destination: Some("domain:b.test".to_owned()),
        ..ALL
    };
    let first = bench.store.hold(&to_b, Position::START).await.unwrap();
    assert_eq!(changed(first), (500, true));
    let send = bench.envelope("alice@a.test", None, "1");
    bench.accept(send, vec![abroad("late@b.test")]).await;
    let second = bench.store.hold(&to_b, first.next.unwrap()).await.unwrap();
    assert_eq!(changed(second), (500, true));
    let third = bench.store.hold(&to_b, second.next.unwrap()).await.unwrap();
    assert_eq!(changed(third), (100, false));
    let left = bench.fed().await;
    assert_eq!(left.len(), 1);

    let mut step = bench
        .store
        .release(&ALL, Position::START, at(1))
        .await
        .unwrap();
    let mut released = step.changed;
    while let Some(next) = step.next {
        step = bench.store.release(&ALL, next, at(1)).await.unwrap();
        released += step.changed;
    }
    assert_eq!(released, 1_100);
    let order: Vec<String> = bench
        .queue(&to_b)
        .await
        .into_iter()
        .map(|it| it.recipient)
        .collect();
    let expected =
        std::iter::once("late@b.test".to_owned()).chain((0..1_100).map(|n| format!("r{n}@b.test")));
    assert_eq!(order, expected.collect::<Vec<_>>(), "in their old order");
}

both!(what_was_deferred_is_due_at_once_and_keeps_its_place);
async fn what_was_deferred_is_due_at_once_and_keeps_its_place(home: Home) {
    let bench = Bench::at(home).await;
    for to in ["x@b.test", "y@b.test"] {
        let send = bench.envelope("alice@a.test", None, "1");
        bench.accept(send, vec![abroad(to)]).await;
    }
    let rows = bench.fed().await;
    let later = deferred(at(600), Marks::default());
    bench.settle(&rows[0], later).await;
    let mut control = bench.store.events().subscribe(Topic::Control);
    let retried = bench.store.retry(&ALL, Position::START, at(20)).await;
    assert_eq!(changed(retried.unwrap()), (1, false));
    control.changed().await;
    let again = bench.store.retry(&ALL, Position::START, at(21)).await;
    assert_eq!(changed(again.unwrap()), (0, false), "it is due already");
    let due: Vec<_> = bench
        .fed()
        .await
        .iter()
        .map(|row| (row.seq, row.deferred_until))
        .collect();
    assert_eq!(due, [(1, Some(at(20))), (2, None)]);
}

/// A filter with what `narrow` sets.
fn only(narrow: impl FnOnce(&mut QueueFilter)) -> QueueFilter {
    let mut filter = ALL;
    narrow(&mut filter);
    filter
}

/// One: x@b.test, deferred two: y@c.b.test of alice under the id `wire-1`; three: hook@a.test of Eve.
async fn mixed(bench: &Bench) -> (MessageId, MessageId, i64) {
    let hook = bench.agent("hook").await;
    let wire = WireIdentity {
        id: MessageId::parse("wire-1").unwrap(),
        key: IdempotencyKey::parse("wire-key").unwrap(),
        recipients: 1,
    };
    let send = bench.envelope("alice@a.test", None, "1");
    let recipients = vec![abroad("X@b.test"), abroad("y@c.b.test")];
    let (id, _) = bench.accept(send, recipients).await;
    let mut local = bench.envelope("Eve@a.test", None, "1");
    local.received_at = at(5);
    let to_hook = vec![to_queue("hook@a.test", hook)];
    bench.accept(local, to_hook).await;
    let rows = bench.fed().await;
    let assigned = (rows[0].mid, vec![(rows[0].seq, None)]);
    let alias = wire.id.clone();
    bench.store.assign_identity(assigned, wire).await.unwrap();
    let later = deferred(at(60), Marks::default());
    bench.settle(&rows[1], later).await;
    (id, alias, hook)
}

both!(filters_find_what_they_name_and_nothing_else);
async fn filters_find_what_they_name_and_nothing_else(home: Home) {
    let bench = Bench::at(home).await;
    let (id, alias, hook) = mixed(&bench).await;
    let domain = |name: &str| Some(Domain::parse(name).unwrap());
    let address = |text: &str| Some(Address::parse(text).unwrap());
    let to_hook = Some(format!("agent:{hook}"));
    let table = [
        (ALL, vec![1, 2, 3]),
        (only(|it| it.domain = domain("b.test")), vec![1]),
        (only(|it| it.domain = domain("a.test")), vec![3]),
        (only(|it| it.destination = to_hook), vec![3]),
        (only(|it| it.sender = address("alice@A.test")), vec![1, 2]),
        (only(|it| it.sender = address("eve@a.test")), vec![3]),
        (only(|it| it.recipient = address("x@b.test")), vec![1]),
        (only(|it| it.message_id = Some(id)), vec![1, 2]),
        (only(|it| it.message_id = Some(alias)), vec![1, 2]),
        (only(|it| it.state = Some(QueueState::Deferred)), vec![2]),
        (only(|it| it.state = Some(QueueState::Queued)), vec![1, 3]),
    ];
    for (mut filter, expected) in table {
        let found: Vec<i64> = bench.queue(&filter).await.iter().map(|it| it.seq).collect();
        assert_eq!(found, expected, "{filter:?}");
        if filter != ALL {
            filter.recipient = address("nobody@b.test");
            assert!(bench.queue(&filter).await.is_empty(), "{filter:?}");
        }
    }
}

both!(a_list_of_the_queue_shows_how_far_each_delivery_is);
async fn a_list_of_the_queue_shows_how_far_each_delivery_is(home: Home) {
    let bench = Bench::at(home).await;
    mixed(&bench).await;
    let all = bench.queue(&ALL).await;
    assert_eq!(all[1].next_retry, Some(at(60)));
    assert_eq!(all[1].error_code, Some(ErrorCode::RecipientUnavailable));
    assert_eq!((all[1].attempts, all[1].state), (1, QueueState::Deferred));
    assert_eq!(
        (all[2].sender.as_str(), all[2].accepted_at),
        ("eve@a.test", at(5))
    );
    let page = bench.store.list_deliveries(&ALL, 1, 1).await.unwrap();
    assert_eq!((page.len(), page[0].seq), (1, 2));
    let deferred = only(|it| it.state = Some(QueueState::Deferred));
    let step = bench.store.hold(&deferred, Position::START).await.unwrap();
    assert_eq!(changed(step), (1, false), "the filter narrows a change too");
    assert_eq!(bench.queue(&deferred).await.len(), 0);
    let states: Vec<_> = bench.queue(&ALL).await.iter().map(|it| it.state).collect();
    let queued = QueueState::Queued;
    assert_eq!(states, [queued, QueueState::Held, queued]);
}

both!(a_deleted_agent_goes_when_the_queue_is_done_with_it);
async fn a_deleted_agent_goes_when_the_queue_is_done_with_it(home: Home) {
    let bench = Bench::at(home).await;
    let (hook, other) = (bench.agent("hook").await, bench.agent("other").await);
    for agent in [hook, other] {
        let send = bench.envelope("alice@a.test", None, "1");
        bench
            .accept(send, vec![to_queue("hook@a.test", agent)])
            .await;
    }
    let rows = bench.fed().await;
    for row in &rows {
        bench
            .settle(row, deferred(at(3_000), Marks::default()))
            .await;
    }
    let to_other = QueueFilter {
        destination: Some(format!("agent:{other}")),
        ..ALL
    };
    bench.store.hold(&to_other, Position::START).await.unwrap();
    for agent in [hook, other] {
        bench.store.delete_agent(agent, at(0)).await.unwrap();
    }
    assert!(bench.store.find_key("key-of-hook").await.unwrap().is_none());
    let mut control = bench.store.events().subscribe(Topic::Control);
    let swept = bench.store.sweep(rules(), at(20)).await.unwrap();
    assert_eq!(swept.rows, 1, "made due, and no agent removed");
    control.changed().await;
    let due = bench.fed().await;
    assert_eq!((due.len(), due[0].deferred_until), (1, Some(at(20))));
    let swept = bench.store.sweep(rules(), at(30)).await.unwrap();
    assert_eq!(swept.rows, 0, "woken once");

    bench.settle(&due[0], Ending::Expired { held: None }).await;
    let swept = bench.store.sweep(rules(), at(30)).await.unwrap();
    assert_eq!(swept.rows, 1, "the agent without deliveries");
    assert_eq!(bench.queue(&to_other).await[0].state, QueueState::Held);
    let swept = bench.store.sweep(rules(), at(40)).await.unwrap();
    assert_eq!(swept.rows, 0, "the other one has a delivery that is held");
    let again = bench.store.create_agent(new_agent("hook")).await.unwrap();
    assert!(matches!(again, super::Created::Agent(id) if id > other));
}
