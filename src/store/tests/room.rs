//! Bounds of mailboxes: what is counted, and what becomes of mail when there is no room.

use std::time::Duration;

use super::{AgentChange, AgentSettings, Bench, Fate, Home, NOW, Take, query, to_inbox, to_queue};
use crate::envelope::{Envelope, Origin, Trust};
use crate::protocol::{DeliveryStatus, ErrorCode, Timestamp};
use crate::store::{Arriving, Bounds, DeadLetterFilter, DeadLetters, Position, QueueRow, WhenFull};

const QUEUED: Fate = Fate::New(DeliveryStatus::Queued);
const DELIVERED: Fate = Fate::New(DeliveryStatus::Delivered);
const FULL: Fate = Fate::Refused(ErrorCode::MailboxFull);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(NOW).plus(Duration::from_secs(seconds))
}

fn messages(most: u64, when_full: Option<WhenFull>) -> Bounds {
    Bounds {
        messages: Some(most),
        when_full,
        ..Bounds::default()
    }
}

impl Bench {
    pub(super) async fn bounded(&self, name: &str, bounds: Bounds) -> i64 {
        let id = self.agent(name).await;
        self.bound(id, bounds).await;
        id
    }

    async fn bound(&self, id: i64, bounds: Bounds) {
        let change = AgentChange {
            id,
            settings: AgentSettings {
                bounds,
                ..AgentSettings::fresh()
            },
            sealed_headers: None,
            active: true,
            now: at(0),
        };
        assert!(self.store.change_agent(change).await.unwrap());
    }

    fn own(&self, sender: &str) -> Envelope {
        self.envelope(sender, None, "1")
    }

    fn foreign(&self, sender: &str) -> Envelope {
        Envelope {
            origin: Origin::Peer,
            trust: Trust::Unverified,
            ..self.envelope(sender, None, "1")
        }
    }

    /// Sends a message to a mailbox; its id and what became of it.
    async fn mail_to(&self, envelope: Envelope, mailbox: i64) -> (String, Fate) {
        let id = envelope.message_id.as_str().to_owned();
        let (_, mut fates) = self
            .accept(envelope, vec![to_inbox("bob@a.test", mailbox)])
            .await;
        (id, fates.remove(0))
    }

    async fn acknowledge(&self, mailbox: i64, id: &str) {
        let id = crate::protocol::MessageId::parse(id).unwrap();
        let done = self.store.acknowledge(mailbox, vec![id], at(1)).await;
        assert_eq!(done.unwrap(), [true]);
    }

    async fn enter(&self, mailbox: i64, rows: &[QueueRow]) -> Vec<bool> {
        let arriving = rows.iter().map(|row| Arriving {
            seq: row.seq,
            mid: row.mid,
            size: row.size,
        });
        let arriving = arriving.collect();
        self.store
            .enter_mailbox(mailbox, arriving, at(0))
            .await
            .unwrap()
    }

    /// Messages and bytes of a mailbox: as counted, and as they stand there.
    async fn counted(&self, mailbox: i64) -> ((i64, i64), (i64, i64)) {
        let mut reader = self.store.reader().await.unwrap();
        let mut pair = async |text: &'static str| {
            let statement = crate::store::sql::Statement::new(text).bind(mailbox);
            let row = reader.row(statement).await.unwrap().unwrap();
            (row.int(0).unwrap(), row.int(1).unwrap())
        };
        (
            pair("SELECT messages, bytes FROM mailboxes WHERE id = ?").await,
            pair(
                "SELECT count(*), CAST(coalesce(sum(m.size), 0) AS BIGINT) \
                 FROM inbox i JOIN messages m ON m.mid = i.mid WHERE i.mailbox = ?",
            )
            .await,
        )
    }

    pub(super) async fn counts_right(&self, mailbox: i64, messages: i64) {
        let (counted, there) = self.counted(mailbox).await;
        assert_eq!(counted, there);
        assert_eq!(counted.0, messages);
    }
}

both!(what_waits_is_counted_in_every_commit_that_changes_it);
async fn what_waits_is_counted_in_every_commit_that_changes_it(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let mut ids = Vec::new();
    for payload in ["1", "\"twelve\"", "[1,2,3]"] {
        let envelope = bench.envelope("alice@a.test", None, payload);
        ids.push(bench.mail_to(envelope, bob).await.0);
    }
    bench.counts_right(bob, 3).await;
    bench.acknowledge(bob, &ids[1]).await;
    bench.counts_right(bob, 2).await;
    let queued = vec![to_queue("bob@a.test", bob)];
    bench.accept(bench.own("alice@a.test"), queued).await;
    assert_eq!(bench.enter(bob, &bench.fed().await).await, [true]);
    bench.counts_right(bob, 3).await;
    let home = bench.close().await;
    let bench = Bench::at(home).await;
    bench.acknowledge(bob, &ids[0]).await;
    bench.mail_to(bench.own("alice@a.test"), bob).await;
    bench.counts_right(bob, 3).await;
    bench.home.run("UPDATE mailboxes SET messages = 70").await;
    let next = bench.store.recount_mailboxes(0, 100).await.unwrap();
    assert_eq!(next, None);
    bench.counts_right(bob, 3).await;
    bench.mail_to(bench.own("alice@a.test"), bob).await;
    bench.counts_right(bob, 4).await;
}

both!(without_a_choice_local_senders_are_refused_and_foreign_mail_is_held);
async fn without_a_choice_local_senders_are_refused_and_foreign_mail_is_held(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.bounded("bob", messages(2, None)).await;
    for _ in 0..2 {
        assert_eq!(
            bench.mail_to(bench.own("alice@a.test"), bob).await.1,
            DELIVERED
        );
    }
    assert_eq!(bench.mail_to(bench.own("alice@a.test"), bob).await.1, FULL);
    assert_eq!(
        bench.mail_to(bench.foreign("eve@b.test"), bob).await.1,
        QUEUED
    );
    let notice = Envelope {
        origin: Origin::Bounce,
        ..bench.own("postmaster@a.test")
    };
    let (id, fate) = bench.mail_to(notice, bob).await;
    assert_eq!(fate, QUEUED, "nobody could be told of its refusal");
    bench.counts_right(bob, 2).await;
    let rows = bench.fed().await;
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].destination, format!("agent:{bob}"));
    assert_eq!(bench.enter(bob, &rows).await, [false, false]);
    let id = crate::protocol::MessageId::parse(&id).unwrap();
    assert_eq!(bench.status(&id).await, [DeliveryStatus::Queued]);
}

both!(held_mail_comes_in_when_there_is_room_in_the_order_of_each_sender);
async fn held_mail_comes_in_when_there_is_room_in_the_order_of_each_sender(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench
        .bounded("bob", messages(2, Some(WhenFull::Hold)))
        .await;
    let (first, _) = bench.mail_to(bench.own("alice@a.test"), bob).await;
    let (second, _) = bench.mail_to(bench.own("alice@a.test"), bob).await;
    let (third, fate) = bench.mail_to(bench.own("alice@a.test"), bob).await;
    assert_eq!(fate, QUEUED);
    bench.acknowledge(bob, &first).await;
    // There is room, but something of that sender waits in the queue.
    let (fourth, fate) = bench.mail_to(bench.own("alice@a.test"), bob).await;
    assert_eq!(fate, QUEUED);
    let (other, fate) = bench.mail_to(bench.own("carol@a.test"), bob).await;
    assert_eq!(fate, DELIVERED);
    bench.acknowledge(bob, &second).await;
    let rows = bench.fed().await;
    assert_eq!(bench.enter(bob, &rows).await, [true, false]);
    assert_eq!(bench.mail(bob).await, [other.clone(), third.clone()]);
    bench.acknowledge(bob, &other).await;
    let rows = bench.fed().await;
    assert_eq!(bench.enter(bob, &rows).await, [true]);
    assert_eq!(bench.mail(bob).await, [third.clone(), fourth]);
    bench.acknowledge(bob, &third).await;
    // Nothing waits any more: the queue is out of the way.
    let (fifth, fate) = bench.mail_to(bench.own("alice@a.test"), bob).await;
    assert_eq!(fate, DELIVERED);
    assert_eq!(bench.mail(bob).await.last(), Some(&fifth));
    bench.counts_right(bob, 2).await;
}

both!(mail_follows_what_waits_also_when_the_bounds_are_gone);
async fn mail_follows_what_waits_also_when_the_bounds_are_gone(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench
        .bounded("bob", messages(1, Some(WhenFull::Hold)))
        .await;
    let (first, _) = bench.mail_to(bench.own("alice@a.test"), bob).await;
    let (second, _) = bench.mail_to(bench.own("alice@a.test"), bob).await;
    bench.bound(bob, Bounds::default()).await;
    let (third, fate) = bench.mail_to(bench.own("alice@a.test"), bob).await;
    assert_eq!(fate, QUEUED);
    assert_eq!(bench.enter(bob, &bench.fed().await).await, [true, true]);
    let (fourth, fate) = bench.mail_to(bench.own("alice@a.test"), bob).await;
    assert_eq!(fate, DELIVERED);
    assert_eq!(bench.mail(bob).await, [first, second, third, fourth]);
}

both!(the_oldest_mail_of_a_full_mailbox_becomes_a_dead_letter);
async fn the_oldest_mail_of_a_full_mailbox_becomes_a_dead_letter(home: Home) {
    let bench = Bench::at(home).await;
    let gives_up = messages(3, Some(WhenFull::DeadLetter));
    let bob = bench.bounded("bob", gives_up).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        let (id, fate) = bench.mail_to(bench.own("alice@a.test"), bob).await;
        assert_eq!(fate, DELIVERED);
        ids.push(id);
    }
    assert_eq!(bench.mail(bob).await, ids[2..]);
    bench.counts_right(bob, 3).await;
    let all = DeadLetterFilter::default();
    let dead = bench.store.list_dead_letters(&all, None, 10).await.unwrap();
    assert_eq!(dead.len(), 2);
    assert_eq!(dead[1].message_id, ids[0]);
    assert_eq!(dead[1].error_code, Some(ErrorCode::MailboxFull));
    let id = crate::protocol::MessageId::parse(&ids[0]).unwrap();
    assert_eq!(bench.status(&id).await, [DeliveryStatus::Failed]);
    // What a worker has leased is not taken away from it.
    let lease = super::InboxQuery {
        limit: 1,
        take: Take::Lease(at(60)),
        ..query(bob)
    };
    bench.store.take_mail(lease).await.unwrap();
    let (last, _) = bench.mail_to(bench.own("alice@a.test"), bob).await;
    let leased_out = super::InboxQuery {
        now: at(120),
        ..query(bob)
    };
    let page = bench.store.take_mail(leased_out).await.unwrap();
    let left: Vec<&str> = page
        .items
        .iter()
        .map(|it| it.message.message_id.as_str())
        .collect();
    assert_eq!(left, [ids[2].as_str(), &ids[4], &last]);
    // A dead letter can be put back.
    let which = DeadLetters::Numbered(vec![dead[1].id]);
    let times = (at(0), Duration::from_secs(3_600));
    let replayed = bench.store.replay(&which, Position::START, times);
    replayed.await.unwrap();
    assert_eq!(bench.enter(bob, &bench.fed().await).await, [true]);
    assert_eq!(bench.mail(bob).await.last(), Some(&ids[0]));
    bench.counts_right(bob, 3).await;
}

both!(bytes_and_age_bound_a_mailbox_too);
async fn bytes_and_age_bound_a_mailbox_too(home: Home) {
    let bench = Bench::at(home).await;
    let bytes = Bounds {
        bytes: Some(1_000),
        when_full: Some(WhenFull::Refuse),
        ..Bounds::default()
    };
    let bob = bench.bounded("bob", bytes).await;
    let large = format!("\"{}\"", "x".repeat(5_000));
    let large = || bench.envelope("alice@a.test", None, &large);
    let (id, fate) = bench.mail_to(large(), bob).await;
    assert_eq!(fate, DELIVERED, "an empty mailbox takes any message");
    assert_eq!(bench.mail_to(bench.own("alice@a.test"), bob).await.1, FULL);
    assert_eq!(
        bench.mail_to(bench.foreign("eve@b.test"), bob).await.1,
        FULL
    );
    bench.acknowledge(bob, &id).await;
    assert_eq!(
        bench.mail_to(bench.own("alice@a.test"), bob).await.1,
        DELIVERED
    );
    assert_eq!(bench.mail_to(large(), bob).await.1, FULL);

    let old = |when_full| Bounds {
        age_seconds: Some(60),
        when_full: Some(when_full),
        ..Bounds::default()
    };
    let later = |sender| Envelope {
        received_at: at(61),
        ..bench.own(sender)
    };
    let carol = bench.bounded("carol", old(WhenFull::Refuse)).await;
    assert_eq!(
        bench.mail_to(bench.own("alice@a.test"), carol).await.1,
        DELIVERED
    );
    assert_eq!(bench.mail_to(later("alice@a.test"), carol).await.1, FULL);
    let dave = bench.bounded("dave", old(WhenFull::DeadLetter)).await;
    bench.mail_to(bench.own("alice@a.test"), dave).await;
    let (new, fate) = bench.mail_to(later("alice@a.test"), dave).await;
    assert_eq!(fate, DELIVERED);
    assert_eq!(bench.mail(dave).await, [new]);
    assert_eq!(bench.store.bury_overdue(at(100)).await.unwrap(), 0);
    assert_eq!(bench.store.bury_overdue(at(130)).await.unwrap(), 1);
    assert_eq!(bench.mail(dave).await, [""; 0]);
    bench.counts_right(dave, 0).await;
    bench.counts_right(carol, 1).await;
}
