//! Groups over real webhooks.

use super::*;
use crate::store::{AgentKind, AgentSettings, GroupSettings, Spread};
use crate::telemetry::Standings;
use crate::transport::{GroupTransport, is_for_readers};

impl Bench {
    async fn named(&self, name: &str, settings: AgentSettings) -> i64 {
        let created = self.store.create_agent(NewAgent {
            domain: Domain::parse("two.test").unwrap(),
            name: AgentName::parse(name).unwrap(),
            settings,
            sealed_headers: None,
            key: NewKey {
                id: format!("key-{name}"),
                hash: vec![1; 32],
                grant: Grant::default(),
            },
            token: None,
            now: Timestamp::from_millis(NOW),
        });
        match created.await.unwrap() {
            Created::Agent(number) => number,
            other => panic!("{other:?}"),
        }
    }

    /// A member that is called at a path of its own.
    async fn called(&self, name: &str, change: impl FnOnce(&mut AgentSettings)) -> i64 {
        let mut settings = AgentSettings {
            delivery_mode: DeliveryMode::Push,
            push_target: Some(self.url.replace("/in?token=t", &format!("/{name}"))),
            ..AgentSettings::fresh()
        };
        change(&mut settings);
        self.named(name, settings).await
    }

    async fn group(&self, members: &[&str], spread: Spread) -> i64 {
        let members = members.iter();
        let settings = AgentSettings {
            kind: AgentKind::Group,
            group: Some(GroupSettings {
                members: members
                    .map(|name| Address::parse(&format!("{name}@two.test")).unwrap())
                    .collect(),
                spread,
            }),
            ..AgentSettings::fresh()
        };
        self.named("workers", settings).await
    }

    fn group_transport(&self) -> (GroupTransport, Standings) {
        let standings = Standings::default();
        let clock = Clock::over(self.clock.clone());
        let transport =
            GroupTransport::new(self.store.clone(), self.usual(), standings.clone(), clock);
        (transport, standings)
    }

    /// The members that were called, in order.
    fn called_members(&self) -> Vec<String> {
        let got = self.hook.got();
        got.iter().map(|got| got.path[1..].to_owned()).collect()
    }
}

async fn hand(transport: &GroupTransport, group: i64, parcel: Parcel) -> Outcome {
    let carried = transport
        .carry(&Destination::Group(group), vec![parcel])
        .await;
    carried.into_iter().flatten().next().unwrap().outcome
}

fn is_delivered(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Delivered { .. })
}

#[tokio::test]
async fn members_take_turns_and_the_ones_that_rest_are_left_out() {
    let bench = Bench::new().await;
    for name in ["one", "two", "three"] {
        bench.called(name, |_| {}).await;
    }
    let group = bench
        .group(&["one", "two", "three", "nobody"], Spread::RoundRobin)
        .await;
    let (transport, standings) = bench.group_transport();
    for _ in 0..4 {
        assert!(is_delivered(
            &hand(&transport, group, parcel("m-1", "alice@one.test", 0)).await
        ));
    }
    assert_eq!(bench.called_members(), ["one", "two", "three", "one"]);
    // One that has no time is passed over at once, and rests.
    bench
        .hook
        .says(&[(503, ""), (200, ""), (200, ""), (200, "")]);
    for _ in 0..3 {
        assert!(is_delivered(
            &hand(&transport, group, parcel("m-2", "alice@one.test", 0)).await
        ));
    }
    assert_eq!(bench.called_members(), ["two", "three", "one", "three"]);
    bench.clock.advance(Duration::from_secs(6));
    for _ in 0..2 {
        assert!(is_delivered(
            &hand(&transport, group, parcel("m-3", "alice@one.test", 0)).await
        ));
    }
    let called = bench.called_members();
    assert!(
        called.contains(&"two".to_owned()),
        "it is tried again: {called:?}"
    );
    // Nobody has time: the group as a whole has to wait.
    bench.hook.says(&[(503, ""), (503, ""), (503, "")]);
    let outcome = hand(&transport, group, parcel("m-4", "alice@one.test", 0)).await;
    let Outcome::Deferred(trouble) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(trouble.fault, Fault::Destination);
    assert_eq!(trouble.retry_after, Some(Duration::from_secs(5)));
    let found = bench
        .store
        .find_agent_by_number(group)
        .await
        .unwrap()
        .unwrap();
    let members = bench.store.members_of(&found).await.unwrap();
    let now = Clock::over(bench.clock.clone()).now();
    assert!(!is_for_readers(&members, &standings, now), "nobody reads");
    bench.close().await;
}

#[tokio::test]
async fn a_message_that_a_member_may_have_is_not_given_to_another_at_once() {
    let bench = Bench::new().await;
    let one = bench.called("one", |_| {}).await;
    bench.called("two", |_| {}).await;
    let group = bench.group(&["one", "two"], Spread::RoundRobin).await;
    let (transport, standings) = bench.group_transport();
    bench.hook.says(&[(0, "")]);
    let handing = hand(&transport, group, parcel("m-1", "alice@one.test", 0));
    let (outcome, ()) = tokio::join!(handing, async {
        bench.hook.silent.notified().await;
        // While it is under way, what follows of that sender goes to the same member.
        let same = hand(&transport, group, parcel("m-2", "alice@one.test", 0)).await;
        let other = hand(&transport, group, parcel("m-3", "carol@one.test", 0)).await;
        assert!(is_delivered(&same) && is_delivered(&other));
        bench.clock.advance(Duration::from_secs(11));
    });
    let Outcome::Deferred(trouble) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        trouble.fault,
        Fault::Message,
        "the others of the group go on"
    );
    assert_eq!(standings.of(one).failures, 1);
    assert_eq!(bench.called_members(), ["one", "one", "two"]);
    bench.close().await;
}

#[tokio::test]
async fn a_capability_that_is_asked_for_picks_the_member() {
    let bench = Bench::new().await;
    bench.called("plain", |_| {}).await;
    bench
        .called("able", |it| it.capabilities = vec!["ocr".to_owned()])
        .await;
    let group = bench.group(&["plain", "able"], Spread::Capability).await;
    let (transport, _) = bench.group_transport();
    let asking = |capability: &str| {
        let raw = format!(
            r#"{{"sender":"alice@one.test","recipients":["bob@two.test"],"payload":1,
                "headers":{{"x-amtp-capability":"{capability}"}}}}"#
        );
        let message = Message::parse(Bytes::from(raw), Profile::Relay, &Limits::default());
        Parcel {
            message: message.unwrap(),
            ..parcel("m-1", "alice@one.test", 0)
        }
    };
    for _ in 0..2 {
        assert!(is_delivered(&hand(&transport, group, asking("ocr")).await));
    }
    assert_eq!(bench.called_members(), ["able", "able"]);
    let outcome = hand(&transport, group, asking("chess")).await;
    let Outcome::Deferred(trouble) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(trouble.fault, Fault::Message);
    assert!(bench.called_members().is_empty());
    bench.close().await;
}

#[tokio::test]
async fn where_nobody_called_is_well_the_readers_get_it() {
    let bench = Bench::new().await;
    let one = bench.called("one", |_| {}).await;
    bench.named("reader", AgentSettings::fresh()).await;
    let group = bench.group(&["one", "reader"], Spread::RoundRobin).await;
    let (_, standings) = bench.group_transport();
    let found = bench
        .store
        .find_agent_by_number(group)
        .await
        .unwrap()
        .unwrap();
    assert!(bench.store.calls_members(&found).await.unwrap());
    let now = Timestamp::from_millis(NOW);
    let members = async || bench.store.members_of(&found).await.unwrap();
    assert!(!is_for_readers(&members().await, &standings, now));
    standings.failed(one, now, None);
    assert!(is_for_readers(&members().await, &standings, now));
    let later = now.plus(Duration::from_secs(5));
    assert!(!is_for_readers(&members().await, &standings, later));
    bench.change(one, DeliveryMode::Push, false).await;
    assert!(is_for_readers(&members().await, &standings, later));
    assert!(!bench.store.calls_members(&found).await.unwrap());
    let reader = Address::parse("reader@two.test").unwrap();
    let asked = Address::parse("workers@two.test").unwrap();
    let readable = bench
        .store
        .readable_mailbox((9, &reader), &asked)
        .await
        .unwrap();
    assert_eq!(readable.map(|(id, _)| id), Some(group));
    let stranger = Address::parse("eve@two.test").unwrap();
    let readable = bench
        .store
        .readable_mailbox((9, &stranger), &asked)
        .await
        .unwrap();
    assert_eq!(readable, None);
    bench.close().await;
}
