//! The way of a message, as its parties may see it.

use std::net::IpAddr;

use super::super::{BounceFate, Ending, Hop, Marks, Trace, WireIdentity};
use super::dead_letters::failed;
use super::queue::{abroad, at, deferred};
use super::{
    Bench, DeliveryStatus, Envelope, ErrorCode, Home, IdempotencyKey, MessageId, Origin, Party,
    Trust, to_inbox, to_queue,
};

fn party(id: i64, key: &str) -> Party {
    Party::Agent {
        id,
        key: key.to_owned(),
    }
}

impl Bench {
    async fn trace(&self, id: &MessageId, party: &Party) -> Trace {
        self.store.trace(id, party).await.unwrap()
    }
}

fn of<'a>(trace: &'a Trace, recipient: &str) -> &'a Hop {
    let found = trace.hops.iter().find(|hop| hop.state.address == recipient);
    found.unwrap()
}

/// A message to a recipient abroad (delivered at the second attempt), a webhook (given up) and an
/// inbox.
async fn three_ways(bench: &Bench, hook: i64, bob: i64) -> MessageId {
    let recipients = vec![
        abroad("x@b.test"),
        to_queue("hook@a.test", hook),
        to_inbox("bob@a.test", bob),
    ];
    let send = bench.envelope("alice@a.test", None, "1");
    let (id, _) = bench.accept(send, recipients).await;
    let rows = bench.fed().await;
    let wire = WireIdentity {
        id: MessageId::parse("wire-1").unwrap(),
        key: IdempotencyKey::parse("wire-key").unwrap(),
        recipients: 1,
    };
    let travels = (rows[0].mid, vec![(rows[0].seq, None)]);
    bench.store.assign_identity(travels, wire).await.unwrap();
    bench
        .settle(&rows[0], deferred(at(60), Marks::default()))
        .await;
    bench.settle(&rows[0], Ending::Delivered).await;
    bench
        .settle(&rows[1], failed(ErrorCode::AgentUnknown))
        .await;
    id
}

both!(the_operator_sees_every_hop_attempt_and_end);
async fn the_operator_sees_every_hop_attempt_and_end(home: Home) {
    let bench = Bench::at(home).await;
    let (hook, bob) = (bench.agent("hook").await, bench.agent("bob").await);
    let id = three_ways(&bench, hook, bob).await;
    for name in [id.clone(), MessageId::parse("wire-1").unwrap()] {
        let trace = bench.trace(&name, &Party::Operator).await;
        assert_eq!(trace.hops.len(), 3, "{name:?}");
        let abroad = of(&trace, "x@b.test");
        assert_eq!(abroad.accepted.message_id, id.as_str());
        assert_eq!(abroad.accepted.origin, Origin::Submission);
        assert_eq!(abroad.accepted.request_id.as_deref(), Some("r"));
        assert_eq!(abroad.attempts.len(), 1);
        let attempt = &abroad.attempts[0];
        assert_eq!((attempt.number, attempt.took, attempt.last), (1, 40, false));
        assert_eq!(attempt.error_code, Some(ErrorCode::RecipientUnavailable));
        assert_eq!(attempt.text.as_deref(), Some("no connection"));
        assert_eq!(attempt.remote.as_deref(), Some("192.0.2.1:443"));
        assert_eq!(abroad.state.status, DeliveryStatus::Delivered);
        assert_eq!(abroad.state.attempts, 2);
        assert_eq!(abroad.remote.as_deref(), Some("192.0.2.1:443"));
        assert_eq!(abroad.wire_ids, ["wire-1"]);
        assert_eq!(abroad.dead_letter, None);
        let dead = of(&trace, "hook@a.test");
        assert_eq!(dead.state.status, DeliveryStatus::Failed);
        assert!(dead.attempts[0].last);
        let letter = dead.dead_letter.as_ref().unwrap();
        assert_eq!((letter.id, letter.bounce), (Some(1), BounceFate::Sent));
        assert!(of(&trace, "bob@a.test").attempts.is_empty());
    }
}

both!(the_sender_sees_its_message_but_not_where_local_agents_listen);
async fn the_sender_sees_its_message_but_not_where_local_agents_listen(home: Home) {
    let bench = Bench::at(home).await;
    let (alice, hook) = (bench.agent("alice").await, bench.agent("hook").await);
    let bob = bench.agent("bob").await;
    let id = three_ways(&bench, hook, bob).await;
    let trace = bench.trace(&id, &party(alice, "alice@a.test")).await;
    assert_eq!(trace.hops.len(), 3);
    let abroad = of(&trace, "x@b.test");
    assert_eq!(abroad.remote.as_deref(), Some("192.0.2.1:443"));
    assert_eq!(abroad.wire_ids, ["wire-1"]);
    assert_eq!(abroad.accepted.request_id, None);
    assert_eq!(abroad.attempts[0].text.as_deref(), Some("no connection"));
    let dead = of(&trace, "hook@a.test");
    assert_eq!(dead.attempts[0].remote, None);
    assert_eq!(dead.attempts[0].text, None);
    assert!(dead.wire_ids.is_empty());
    assert_eq!(dead.dead_letter.as_ref().unwrap().id, None);
}

both!(a_recipient_sees_its_own_row_and_no_address);
async fn a_recipient_sees_its_own_row_and_no_address(home: Home) {
    let bench = Bench::at(home).await;
    let (hook, bob) = (bench.agent("hook").await, bench.agent("bob").await);
    let id = three_ways(&bench, hook, bob).await;
    let trace = bench.trace(&id, &party(hook, "hook@a.test")).await;
    assert_eq!(trace.hops.len(), 1);
    let own = &trace.hops[0];
    assert_eq!(own.state.address, "hook@a.test");
    assert_eq!(
        (&own.attempts[0].remote, &own.attempts[0].text),
        (&None, &None)
    );
    assert_eq!(own.attempts[0].error_code, Some(ErrorCode::AgentUnknown));
    assert!(own.wire_ids.is_empty());
    let stranger = bench.agent("eve").await;
    let nothing = bench.trace(&id, &party(stranger, "eve@a.test")).await;
    assert!(nothing.hops.is_empty() && nothing.replies.is_empty());
}

both!(the_address_a_message_came_from_is_for_operators);
async fn the_address_a_message_came_from_is_for_operators(home: Home) {
    let bench = Bench::at(home).await;
    let bob = bench.agent("bob").await;
    let from: IpAddr = "203.0.113.9".parse().unwrap();
    let envelope = Envelope {
        trust: Trust::Unverified,
        origin: Origin::Peer,
        remote: Some(from),
        ..bench.envelope("alice@b.test", None, "1")
    };
    let (id, _) = bench
        .accept(envelope, vec![to_inbox("bob@a.test", bob)])
        .await;
    let whole = bench.trace(&id, &Party::Operator).await;
    assert_eq!(whole.hops[0].accepted.remote, Some(from));
    assert_eq!(whole.hops[0].accepted.origin, Origin::Peer);
    let own = bench.trace(&id, &party(bob, "bob@a.test")).await;
    assert_eq!(own.hops[0].accepted.remote, None);
}

both!(replies_are_seen_by_those_who_sent_or_got_them);
async fn replies_are_seen_by_those_who_sent_or_got_them(home: Home) {
    let bench = Bench::at(home).await;
    let (alice, bob) = (bench.agent("alice").await, bench.agent("bob").await);
    let eve = bench.agent("eve").await;
    let send = bench.envelope("alice@a.test", None, "1");
    let to_both = vec![to_inbox("bob@a.test", bob), to_inbox("eve@a.test", eve)];
    let (id, _) = bench.accept(send, to_both).await;
    let mut answers = Vec::new();
    for (from, to, mailbox) in [
        ("bob@a.test", "alice@a.test", alice),
        ("eve@a.test", "bob@a.test", bob),
    ] {
        let envelope = Envelope {
            answers: Some(id.clone()),
            ..bench.envelope(from, None, "2")
        };
        let (answer, _) = bench.accept(envelope, vec![to_inbox(to, mailbox)]).await;
        answers.push(answer.as_str().to_owned());
    }
    let table = [
        (Party::Operator, vec![0, 1]),
        (party(alice, "alice@a.test"), vec![0]),
        (party(bob, "bob@a.test"), vec![0, 1]),
        (party(eve, "eve@a.test"), vec![1]),
    ];
    for (party, expected) in table {
        let trace = bench.trace(&id, &party).await;
        let seen: Vec<&String> = trace.replies.iter().map(|it| &it.message_id).collect();
        let expected: Vec<&String> = expected.into_iter().map(|at| &answers[at]).collect();
        assert_eq!(seen, expected, "{party:?}");
    }
    let trace = bench.trace(&id, &Party::Operator).await;
    assert_eq!(trace.replies[0].sender, "bob@a.test");
}
