//! Dead letters: kept, found, replayed, dropped, forgotten.

use std::time::Duration;

use super::super::{
    BounceFate, DeadLetterFilter, DeadLetters, Ending, Position, QueueFilter, Reason, WireIdentity,
};
use super::queue::{abroad, at, rules};
use super::{
    Address, Bench, DeliveryStatus, Domain, ErrorCode, Home, IdempotencyKey, MessageId, Party,
    to_queue,
};

const GIVE_UP: Duration = Duration::from_secs(7 * 86_400);

pub(super) fn failed(code: ErrorCode) -> Ending {
    Ending::Failed {
        reason: Reason {
            code,
            text: "refused for good".to_owned(),
        },
        bounce: BounceFate::Sent,
        held: None,
    }
}

fn all() -> DeadLetters {
    DeadLetters::Matching(DeadLetterFilter::default())
}

impl Bench {
    /// A message to a recipient abroad that was given up.
    async fn dead(&self, sender: &str, recipient: &str, code: ErrorCode) -> MessageId {
        let send = self.envelope(sender, None, "1");
        let (id, _) = self.accept(send, vec![abroad(recipient)]).await;
        self.fail_all(code).await;
        id
    }

    async fn fail_all(&self, code: ErrorCode) {
        for row in self.fed().await {
            self.settle(&row, failed(code)).await;
        }
    }

    async fn letters(&self, filter: &DeadLetterFilter) -> Vec<i64> {
        let found = self.store.list_dead_letters(filter, None, 10_000).await;
        found.unwrap().iter().map(|it| it.id).collect()
    }

    async fn one_status(&self, id: &MessageId) -> DeliveryStatus {
        let tracked = self.store.find_message(id, &Party::Operator).await.unwrap();
        assert_eq!(tracked[0].recipients.len(), 1);
        tracked[0].recipients[0].status
    }
}

/// A filter with what `narrow` sets.
fn only(narrow: impl FnOnce(&mut DeadLetterFilter)) -> DeadLetterFilter {
    let mut filter = DeadLetterFilter::default();
    narrow(&mut filter);
    filter
}

/// One: of alice to X@b.test, unavailable; two: of eve to x@c.test, denied.
async fn two(bench: &Bench) -> MessageId {
    let first = bench
        .dead("alice@a.test", "X@b.test", ErrorCode::RecipientUnavailable)
        .await;
    bench
        .dead("eve@a.test", "x@c.test", ErrorCode::PolicyDenied)
        .await;
    first
}

both!(dead_letters_are_listed_newest_first_and_found_by_filters);
async fn dead_letters_are_listed_newest_first_and_found_by_filters(home: Home) {
    let bench = Bench::at(home).await;
    let first = two(&bench).await;
    let address = |text: &str| Some(Address::parse(text).unwrap());
    let domain = Domain::parse("b.test").ok();
    let code = Some(ErrorCode::RecipientUnavailable);
    let table = [
        (DeadLetterFilter::default(), vec![2, 1]),
        (only(|it| it.domain = domain), vec![1]),
        (only(|it| it.sender = address("Eve@a.test")), vec![2]),
        (only(|it| it.recipient = address("x@b.test")), vec![1]),
        (only(|it| it.message_id = Some(first)), vec![1]),
        (only(|it| it.error_code = code), vec![1]),
        (only(|it| it.since = Some(at(10))), vec![2, 1]),
        (only(|it| it.since = Some(at(11))), vec![]),
    ];
    for (filter, expected) in table {
        assert_eq!(bench.letters(&filter).await, expected, "{filter:?}");
    }
    let all = DeadLetterFilter::default();
    let page = bench.store.list_dead_letters(&all, Some(2), 5).await;
    assert_eq!(page.unwrap().len(), 1);
    let page = bench.store.list_dead_letters(&all, None, 1).await;
    assert_eq!(page.unwrap()[0].id, 2);
}

both!(a_dead_letter_is_found_with_its_message);
async fn a_dead_letter_is_found_with_its_message(home: Home) {
    let bench = Bench::at(home).await;
    let first = two(&bench).await;
    let found = bench.store.find_dead_letter(1).await.unwrap();
    let (letter, message) = found.unwrap();
    assert_eq!((message.message_id, letter.mid), (first, message.mid));
    assert_eq!(
        (letter.recipient.as_str(), letter.attempts),
        ("X@b.test", 1)
    );
    assert_eq!(letter.error_code, Some(ErrorCode::RecipientUnavailable));
    assert_eq!(letter.text, "refused for good");
    assert_eq!(letter.first_attempt, Some(at(9)));
    assert_eq!((letter.last_attempt, letter.dead_at), (Some(at(9)), at(10)));
    assert_eq!(letter.bounce, BounceFate::Sent);
    assert!(bench.store.find_dead_letter(9).await.unwrap().is_none());
}

both!(a_replayed_delivery_is_new_and_travels_under_a_fresh_identity);
async fn a_replayed_delivery_is_new_and_travels_under_a_fresh_identity(home: Home) {
    let bench = Bench::at(home).await;
    let id = bench
        .dead("alice@a.test", "x@b.test", ErrorCode::RecipientUnavailable)
        .await;
    assert_eq!(bench.one_status(&id).await, DeliveryStatus::Failed);
    let mut queue = bench.store.events().subscribe(super::Topic::Queue);
    let which = DeadLetters::Numbered(vec![1, 1, 77]);
    let times = (at(100), GIVE_UP);
    let step = bench.store.replay(&which, Position::START, times).await;
    let step = step.unwrap();
    assert_eq!((step.changed, step.next), (1, None));
    queue.changed().await;
    assert_eq!(bench.one_status(&id).await, DeliveryStatus::Queued);
    assert!(bench.letters(&DeadLetterFilter::default()).await.is_empty());
    let rows = bench.fed().await;
    let send = bench.envelope("alice@a.test", None, "1");
    bench.accept(send, vec![abroad("x@b.test")]).await;
    let same_lane = bench.fed().await;
    assert_eq!(rows[0].lane, same_lane[1].lane, "in the old lane");
    assert_eq!(bench.store.latest_delivery(rows[0].lane), same_lane[1].seq);
    let back = bench.store.load_deliveries(&[2]).await.unwrap().remove(0);
    assert_eq!((back.attempts, back.renew), (0, true));
    assert_eq!(back.give_up_at, at(100).plus(GIVE_UP));
    let again = bench.store.replay(&which, Position::START, times).await;
    assert_eq!(again.unwrap().changed, 0);
    bench.settle(&rows[0], Ending::Delivered).await;
    assert_eq!(bench.one_status(&id).await, DeliveryStatus::Delivered);
}

both!(a_replay_ends_although_everything_fails_again);
async fn a_replay_ends_although_everything_fails_again(home: Home) {
    let bench = Bench::at(home).await;
    let many = (0..600).map(|n| abroad(&format!("r{n}@b.test")));
    let send = bench.envelope("alice@a.test", None, "1");
    bench.accept(send, many.collect()).await;
    bench.fail_all(ErrorCode::RecipientUnavailable).await;
    let (mut from, mut replayed, mut steps) = (Some(Position::START), Vec::new(), 0);
    while let Some(position) = from {
        let step = bench
            .store
            .replay(&all(), position, (at(100), GIVE_UP))
            .await;
        let step = step.unwrap();
        replayed.push(step.changed);
        from = step.next;
        bench.fail_all(ErrorCode::RecipientUnavailable).await;
        steps += 1;
        assert!(steps < 10, "{replayed:?}");
    }
    assert_eq!(replayed, [500, 100]);
    assert_eq!(bench.letters(&DeadLetterFilter::default()).await.len(), 600);
}

both!(a_dropped_dead_letter_takes_its_message_once_nothing_else_speaks_of_it);
async fn a_dropped_dead_letter_takes_its_message_once_nothing_else_speaks_of_it(home: Home) {
    let bench = Bench::at(home).await;
    let id = bench
        .dead("alice@a.test", "x@b.test", ErrorCode::RecipientUnavailable)
        .await;
    let kept = bench
        .dead("alice@a.test", "y@b.test", ErrorCode::RecipientUnavailable)
        .await;
    bench.store.sweep(rules(), at(100)).await.unwrap();
    let which = DeadLetters::Numbered(vec![1]);
    let step = bench.store.drop_dead_letters(&which, Position::START).await;
    assert_eq!(step.unwrap().changed, 1);
    let gone = bench.store.find_message(&id, &Party::Operator).await;
    assert!(gone.unwrap().is_empty());
    assert_eq!(bench.one_status(&kept).await, DeliveryStatus::Failed);
    let young = bench
        .dead("alice@a.test", "z@b.test", ErrorCode::RecipientUnavailable)
        .await;
    let step = bench.store.drop_dead_letters(&all(), Position::START).await;
    assert_eq!(step.unwrap().changed, 2);
    assert_eq!(bench.one_status(&young).await, DeliveryStatus::Failed);
}

both!(retention_forgets_a_dead_letter_with_all_that_goes_with_it);
async fn retention_forgets_a_dead_letter_with_all_that_goes_with_it(home: Home) {
    let bench = Bench::at(home).await;
    let hook = bench.agent("hook").await;
    let send = bench.envelope("alice@a.test", None, "1");
    let (id, _) = bench
        .accept(send, vec![to_queue("hook@a.test", hook)])
        .await;
    let rows = bench.fed().await;
    let wire = WireIdentity {
        id: MessageId::parse("wire-1").unwrap(),
        key: IdempotencyKey::parse("wire-key").unwrap(),
        recipients: 1,
    };
    let travels = (rows[0].mid, vec![(rows[0].seq, None)]);
    bench
        .store
        .assign_identity(travels, wire.clone())
        .await
        .unwrap();
    bench.fail_all(ErrorCode::AgentUnknown).await;

    // The failure is past its own time; the dead letter is not.
    for _ in 0..2 {
        bench.store.sweep(rules(), at(200)).await.unwrap();
        assert_eq!(bench.one_status(&id).await, DeliveryStatus::Failed);
    }
    assert!(bench.store.find_dead_letter(1).await.unwrap().is_some());
    assert_eq!(
        bench.store.find_alias(&wire.id).await.unwrap(),
        Some(rows[0].mid)
    );
    let trace = bench.store.trace(&id, &Party::Operator).await.unwrap();
    assert_eq!(trace.hops[0].attempts.len(), 1);

    let swept = bench.store.sweep(rules(), at(700)).await.unwrap();
    assert_eq!((swept.rows, swept.messages), (1, 1));
    assert!(bench.store.find_dead_letter(1).await.unwrap().is_none());
    assert_eq!(bench.store.find_alias(&wire.id).await.unwrap(), None);
    let gone = bench.store.find_message(&id, &Party::Operator).await;
    assert!(gone.unwrap().is_empty());
}

both!(what_is_replayed_is_not_forgotten_with_its_first_failure);
async fn what_is_replayed_is_not_forgotten_with_its_first_failure(home: Home) {
    let bench = Bench::at(home).await;
    let id = bench
        .dead("alice@a.test", "x@b.test", ErrorCode::RecipientUnavailable)
        .await;
    bench.store.sweep(rules(), at(100)).await.unwrap();
    let times = (at(200), GIVE_UP);
    bench
        .store
        .replay(&all(), Position::START, times)
        .await
        .unwrap();
    for days in 1..40 {
        bench.store.sweep(rules(), at(days * 86_400)).await.unwrap();
    }
    assert_eq!(bench.one_status(&id).await, DeliveryStatus::Queued);
    assert_eq!(bench.queue(&QueueFilter::default()).await.len(), 1);
}

both!(a_domain_counts_as_known_for_thirty_days);
async fn a_domain_counts_as_known_for_thirty_days(home: Home) {
    let bench = Bench::at(home).await;
    let domain = Domain::parse("b.test").unwrap();
    bench
        .store
        .remember_domain(domain.clone(), at(0))
        .await
        .unwrap();
    bench.store.sweep(rules(), at(30 * 86_400)).await.unwrap();
    assert_eq!(bench.store.domain_seen(&domain).await.unwrap(), Some(at(0)));
    bench
        .store
        .sweep(rules(), at(30 * 86_400 + 1))
        .await
        .unwrap();
    assert_eq!(bench.store.domain_seen(&domain).await.unwrap(), None);
}
