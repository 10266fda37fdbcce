//! The mail of an hour, and those who read it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use super::DAY;
use super::ledger::End;
use super::world::World;
use crate::auth::Presented;
use crate::envelope::{Principal, Scopes};
use crate::intake::{Arrival, Taken};
use crate::protocol::{Address, AgentName, Bounce, Domain, MessageId, Timestamp};
use crate::store::{
    AgentSettings, Created, DeliveryMode, Grant, InboxItem, InboxQuery, NewAgent, NewKey,
    ReadFilter, Replies, Store, Take,
};

/// The numbers of our agents.
pub(super) struct Agents {
    alice: i64,
    bob: i64,
    carol: i64,
}

impl Agents {
    /// Alice sends, Bob reads every hour, Carol every three days, Dave has a webhook.
    pub(super) async fn register(store: &Store, now: Timestamp) -> Self {
        register(store, ("dave", DeliveryMode::Push), now).await;
        let pull = |name| register(store, (name, DeliveryMode::Pull), now);
        Self {
            alice: pull("alice").await,
            bob: pull("bob").await,
            carol: pull("carol").await,
        }
    }
}

async fn register(
    store: &Store,
    (name, delivery_mode): (&str, DeliveryMode),
    now: Timestamp,
) -> i64 {
    let push_target = (delivery_mode == DeliveryMode::Push).then(|| "https://d.test/".to_owned());
    let new = NewAgent {
        domain: Domain::parse("a.test").unwrap(),
        name: AgentName::parse(name).unwrap(),
        settings: AgentSettings {
            delivery_mode,
            push_target,
            replies: Replies::Requested,
            ..AgentSettings::fresh()
        },
        sealed_headers: None,
        key: NewKey {
            id: Uuid::new_v4().to_string(),
            hash: vec![1; 32],
            grant: Grant::default(),
        },
        token: None,
        now,
    };
    match store.create_agent(new).await.unwrap() {
        Created::Agent(id) => id,
        other => panic!("{other:?}"),
    }
}

/// One kind of mail: how many an hour, to whom, whether under a key of the sender, and its end
/// with the hours that takes. A `#` stands for the hour. What takes more than a day is sent every
/// fourth hour only.
const MAIL: [(usize, &str, bool, End, u64); 12] = [
    (3, "bob@a.test", false, End::Inside, 1),
    (2, "bob@a.test", true, End::Inside, 1),
    (3, "carol@a.test", true, End::Inside, 1),
    (2, "dave@a.test", false, End::Outside, 1),
    (2, "dave@a.test", true, End::Outside, 1),
    (1, "x@d#.well.test", true, End::Outside, 1),
    (2, "x#@well.test", false, End::Outside, 1),
    (2, "x@later.test", true, End::Outside, 4),
    (1, "x@slow.test", false, End::Outside, 2),
    (1, "x@refusing.test", true, End::Failed, 1),
    (1, "x@d#.gone.test", true, End::Failed, 26),
    (1, "x@gone.test", false, End::Expired, 8),
];

impl World {
    /// Once a day somebody comes, gets mail, and goes without having read it.
    pub(super) async fn morning(&mut self) {
        let now = self.clock.now();
        match self.hours % DAY {
            1 => {
                let pull = ("guest", DeliveryMode::Pull);
                register(&self.store, pull, now).await;
                let raw = self.letter("alice@a.test", ("guest@a.test", true));
                self.submit(raw).await.receipt().await.unwrap();
            }
            3 => {
                let guest = AgentName::parse("guest").unwrap();
                let domain = Domain::parse("a.test").unwrap();
                let guest = self.store.find_agent(&domain, &guest).await.unwrap();
                assert!(
                    self.store
                        .delete_agent(guest.unwrap().id, now)
                        .await
                        .unwrap()
                );
            }
            _ => {}
        }
    }

    /// Sends the mail of an hour, all of it at once.
    pub(super) async fn send(&mut self) {
        let mut under_way = Vec::new();
        for (count, to, keyed, end, takes) in MAIL {
            if takes > DAY && !self.hours.is_multiple_of(4) {
                continue;
            }
            for _ in 0..count {
                let mut letter = self.letter("alice@a.test", (to, keyed));
                if end == End::Expired {
                    let expires = self.clock.now().plus(6 * super::HOUR);
                    letter["headers"] = json!({ "expires": expires.to_string() });
                }
                under_way.push((self.submit(letter.clone()).await, letter, (end, takes)));
            }
        }
        for keyed in [false, true] {
            let from = format!("f{0}@e{0}.test", self.hours);
            let letter = self.letter(&from, ("bob@a.test", keyed));
            under_way.push((self.submit(letter.clone()).await, letter, (End::Inside, 1)));
        }
        let mut asking = self.letter("alice@a.test", ("dave@a.test", true));
        asking["headers"] = json!({ "x-amtp-reply-requested": "true" });
        under_way.push((self.submit(asking.clone()).await, asking, (End::Outside, 1)));
        let mut last = None;
        for (taken, letter, end) in under_way {
            let id = taken.receipt().await.unwrap().message_id;
            self.ledger.sent(self.hours, &id, end);
            if letter["recipients"][0] == "bob@a.test" {
                self.ledger.for_bob.push(id.clone());
            }
            last = Some((letter, id));
        }
        let (letter, id) = last.unwrap();
        self.repeat(letter, id).await;
        if self.hours.is_multiple_of(4) {
            self.contents().await;
        }
    }

    /// What is sent again under its key is known for nine days, also when it is forgotten itself.
    async fn repeat(&mut self, asking: Value, id: MessageId) {
        let again = self.submit(asking.clone()).await.receipt().await.unwrap();
        assert_eq!(again.message_id, id);
        let letter = self.letter("alice@a.test", ("bob@a.test", true));
        let first = self.submit(letter.clone()).await.receipt().await.unwrap();
        self.ledger.for_bob.push(first.message_id.clone());
        self.ledger
            .sent(self.hours, &first.message_id, (End::Inside, 1));
        self.ledger
            .repeats
            .insert(self.hours, (letter, first.message_id));
        for (days, known) in [(2, true), (8, true), (11, false)] {
            let hour = self.hours.wrapping_sub(days * DAY);
            let Some((letter, id)) = self.ledger.repeats.get(&hour).cloned() else {
                continue;
            };
            let again = self.submit(letter).await.receipt().await.unwrap();
            assert_eq!(again.message_id == id, known, "after {days} days");
            if !known {
                self.ledger.for_bob.push(again.message_id.clone());
                let inside = (End::Inside, 1);
                self.ledger.sent(self.hours, &again.message_id, inside);
            }
        }
    }

    /// Two contents: one that a message refers to, and one that none does.
    async fn contents(&self) {
        let claimed = self.ledger.kept_in(self.hours);
        for claimed in [claimed, None] {
            let (id, now) = (Uuid::new_v4().to_string(), self.clock.now());
            let kind = "text/plain".to_owned();
            let mut blob = self.store.begin_blob(id.clone(), kind, now).await.unwrap();
            blob.write(&[b'x'; 20_000]).await.unwrap();
            blob.complete().await.unwrap();
            if let Some(message) = claimed {
                let mid = self.tracked(&message).await.unwrap().message.mid;
                self.store.claim_blobs(vec![id], mid).await.unwrap();
            }
        }
    }

    fn letter(&self, from: &str, (to, keyed): (&str, bool)) -> Value {
        let to = to.replace('#', &self.hours.to_string());
        let mut letter = json!({
            "sender": from, "recipients": [to], "payload": {"text": "x".repeat(300)},
        });
        if keyed {
            letter["idempotency_key"] = Uuid::new_v4().to_string().into();
        }
        letter
    }

    async fn submit(&self, letter: Value) -> Taken {
        let sender: Address = letter["sender"].as_str().unwrap().parse().unwrap();
        let presented = if sender.domain().as_str() == "a.test" {
            Presented::Principal(Principal::Agent {
                id: self.agents.alice,
                address: sender,
                key_id: "k".to_owned(),
                scopes: Scopes::ALL,
                tier: None,
            })
        } else {
            Presented::Nothing
        };
        let arrival = Arrival {
            raw: Bytes::from(letter.to_string()),
            presented,
            remote: IpAddr::V4(Ipv4Addr::LOCALHOST),
            request_id: "r".to_owned(),
            certificates: Arc::default(),
            verify_by: self.clock.monotonic(),
            reads_answers: true,
            succession: None,
        };
        self.intake.begin(arrival, None).await.unwrap()
    }

    /// Everybody who reads at this hour reads all, and acknowledges it.
    pub(super) async fn read(&mut self) {
        let got = self.take(self.agents.bob).await;
        let ids: Vec<&str> = got
            .iter()
            .map(|it| it.message.message_id.as_str())
            .collect();
        let wanted = std::mem::take(&mut self.ledger.for_bob);
        let distinct: BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(ids.len(), distinct.len(), "nothing comes twice");
        let wanted: BTreeSet<&str> = wanted.iter().map(MessageId::as_str).collect();
        assert_eq!(distinct, wanted);
        let in_order = got.iter().map(|it| it.message.mid);
        assert!(in_order.is_sorted(), "acceptance is the order");
        self.ledger.read(self.hours, &got[0].message.message_id);
        for it in self.take(self.agents.alice).await {
            let message = it.message.message().unwrap();
            match Bounce::from_message(&message) {
                Some(bounce) => self.ledger.bounced(&bounce.original_message_id),
                None => self.ledger.replies += 1,
            }
        }
        if self.hours % (3 * DAY) == 3 * DAY - 1 {
            let got = self.take(self.agents.carol).await;
            assert_eq!(
                got.len() as u64,
                3 * 3 * DAY,
                "it waits as long as she likes"
            );
        }
    }

    /// Takes all mail of a mailbox, and acknowledges it.
    async fn take(&self, mailbox: i64) -> Vec<InboxItem> {
        let now = self.clock.now();
        let mut all = Vec::new();
        loop {
            let query = InboxQuery {
                mailbox,
                limit: 200,
                offset: 0,
                after: 0,
                since: None,
                filter: ReadFilter::All,
                now,
                take: Take::Lease(now.plus(Duration::from_secs(60))),
            };
            let page = self.store.take_mail(query).await.unwrap();
            let ids = page.items.iter().map(|it| it.message.message_id.clone());
            let known = self.store.acknowledge(mailbox, ids.collect(), now).await;
            assert!(known.unwrap().into_iter().all(|known| known));
            let more = page.more;
            all.extend(page.items);
            if !more {
                return all;
            }
        }
    }
}
