//! Holds gateways to the promises that were noted.
//!
//! Each promised message is in its recipient's inbox, once, under the promised id; what one sender
//! wrote to one recipient is in the order of submission. What was not promised is there at most
//! once. Inboxes are read as an agent reads them, on from the last cursor, so that a message that
//! shows up behind the cursor is missed and found to be missing.
//!
//! Every second agent acknowledges what it has read. What was acknowledged does not come back.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::caller::Caller;
use super::promises::Ledger;
use super::{Agent, eventually_so, pause};

const PAGE: usize = 1_000;
/// The time a gateway may take to answer again.
const PATIENCE: Duration = Duration::from_secs(60);

/// A sender and a recipient.
type Way = (String, String);
/// Numbers that were promised.
type Due = Vec<(Way, Vec<u64>)>;

/// What is known of the mail of one sender to one recipient.
#[derive(Default)]
struct Lane {
    promised: HashMap<u64, String>,
    given_up: HashSet<u64>,
    /// What arrived, in order.
    arrived: Vec<(u64, String)>,
    /// Positions by number.
    places: HashMap<u64, usize>,
    /// The promises that were not looked at.
    unchecked: Vec<u64>,
    /// The place before which the order was looked at.
    in_order: usize,
}

struct Mailbox {
    agent: Agent,
    cursor: String,
    acknowledging: bool,
    /// What was read and not acknowledged.
    unread: Vec<String>,
    acknowledged: HashSet<String>,
    /// What was acknowledged, perhaps: no answer came.
    unclear: HashSet<String>,
}

/// The inboxes and what should be in them.
pub struct Audit {
    ledger: Arc<Ledger>,
    place: u64,
    lanes: HashMap<Way, Lane>,
    mailboxes: Vec<Mailbox>,
    same_ids: bool,
}

impl Audit {
    /// An audit of the mail of these agents of other domains, which comes later and under ids of
    /// its journey.
    pub fn abroad(ledger: Arc<Ledger>, recipients: &[Agent]) -> Self {
        Self {
            same_ids: false,
            ..Self::new(ledger, recipients)
        }
    }

    /// An audit of these agents' mail.
    pub fn new(ledger: Arc<Ledger>, recipients: &[Agent]) -> Self {
        let mailbox = |(n, agent): (usize, &Agent)| Mailbox {
            agent: agent.clone(),
            cursor: String::new(),
            acknowledging: n % 2 == 1,
            unread: Vec::new(),
            acknowledged: HashSet::new(),
            unclear: HashSet::new(),
        };
        Self {
            ledger,
            place: 0,
            lanes: HashMap::new(),
            mailboxes: recipients.iter().enumerate().map(mailbox).collect(),
            same_ids: true,
        }
    }

    /// Looks whether everything promised so far is kept so far.
    pub async fn look(&mut self, gateway: &Caller) {
        self.read_notes();
        // What was promised before the inboxes are read has to be in them.
        let due = self.due();
        self.read_inboxes(gateway).await;
        self.check(due);
    }

    /// Waits until everything promised so far has come, and looks at it. What is promised meanwhile
    /// is left to the next time.
    pub async fn wait(&mut self, gateway: &Caller) {
        self.read_notes();
        let due = self.due();
        for _ in 0..600 {
            self.read_inboxes(gateway).await;
            if self.missing(&due) == 0 {
                return self.check(due);
            }
            pause(Duration::from_millis(200)).await;
        }
        panic!("{} messages do not come", self.missing(&due));
    }

    /// What was promised and not looked at.
    fn due(&mut self) -> Due {
        let lanes = self.lanes.iter_mut();
        lanes
            .map(|(lane, known)| (lane.clone(), std::mem::take(&mut known.unchecked)))
            .collect()
    }

    fn missing(&self, due: &Due) -> usize {
        let missing = |(lane, numbers): &(Way, Vec<u64>)| {
            let there = &self.lanes[lane].places;
            numbers.iter().filter(|it| !there.contains_key(it)).count()
        };
        due.iter().map(missing).sum()
    }

    /// Looks at what is due, and at the order of all that came.
    fn check(&mut self, due: Due) {
        // What was given up before later mail was sent has to be known.
        self.read_notes();
        for (lane, numbers) in due {
            let known = &self.lanes[&lane];
            for number in numbers {
                known.assert_there(&lane, number, self.same_ids);
            }
        }
        for (lane, known) in &mut self.lanes {
            known.assert_order(lane);
        }
    }

    async fn read_inboxes(&mut self, gateway: &Caller) {
        for n in 0..self.mailboxes.len() {
            self.read_mail(n, gateway).await;
        }
    }

    /// The last look, when nobody talks any more: also at what should not be there. Says how many
    /// promises were kept.
    pub async fn close(mut self, gateway: &Caller) -> usize {
        self.look(gateway).await;
        for (lane, known) in &self.lanes {
            for (number, _) in &known.arrived {
                assert!(
                    known.promised.contains_key(number) || known.given_up.contains(number),
                    "{lane:?}: {number} was never sent"
                );
            }
        }
        for mailbox in &self.mailboxes {
            mailbox.assert_whole(gateway).await;
        }
        self.lanes.values().map(|it| it.promised.len()).sum()
    }

    /// Acknowledges what was read before; the gateway may go away meanwhile.
    pub async fn acknowledge(&mut self, gateway: &Caller) {
        for mailbox in &mut self.mailboxes {
            mailbox.acknowledge(gateway).await;
        }
    }

    fn read_notes(&mut self) {
        for note in self.ledger.read(&mut self.place) {
            if !self.mailboxes.iter().any(|it| it.agent.address == note.to) {
                continue;
            }
            let lane = self.lanes.entry((note.from, note.to)).or_default();
            match note.id {
                Some(id) => {
                    lane.unchecked.push(note.number);
                    lane.promised.insert(note.number, id);
                }
                None => assert!(lane.given_up.insert(note.number)),
            }
        }
    }

    async fn read_mail(&mut self, n: usize, gateway: &Caller) {
        let mailbox = &mut self.mailboxes[n];
        let to = mailbox.agent.address.clone();
        for message in mailbox.read(gateway).await {
            let text = |member: &str| message[member].as_str().unwrap().to_owned();
            let number = message["payload"].as_u64().unwrap();
            let (lane, id) = ((text("sender"), to.clone()), text("message_id"));
            assert!(
                !mailbox.acknowledged.contains(&id),
                "{lane:?}: {number} came again after it was acknowledged"
            );
            mailbox.unread.push(id.clone());
            let known = self.lanes.entry(lane.clone()).or_default();
            let before = known.places.insert(number, known.arrived.len());
            if let Some(before) = before {
                let before = &known.arrived[before].1;
                panic!("{lane:?}: {number} came twice, as {before} and as {id}: {message}");
            }
            known.arrived.push((number, id));
        }
    }
}

impl Lane {
    fn assert_there(&self, lane: &Way, number: u64, same_ids: bool) {
        let Some(place) = self.places.get(&number) else {
            panic!(
                "{lane:?}: {number} was promised as {} and is lost; {} arrived, at last {:?}",
                self.promised[&number],
                self.arrived.len(),
                self.arrived.last()
            );
        };
        let id = &self.arrived[*place].1;
        assert!(
            !same_ids || id == &self.promised[&number],
            "{lane:?}: {number} has another id, {id}"
        );
    }

    fn assert_order(&mut self, lane: &Way) {
        let mut last = None;
        let from = self.in_order.saturating_sub(1);
        // Begins with one that counts.
        let from = (0..=from)
            .rev()
            .find(|at| self.counts(*at))
            .unwrap_or_default();
        for at in from..self.arrived.len() {
            let number = self.arrived[at].0;
            if !self.counts(at) {
                continue;
            }
            assert!(
                last < Some(number),
                "{lane:?}: {number} came after {last:?}"
            );
            last = Some(number);
        }
        self.in_order = self.arrived.len();
    }

    /// Whether the place of an arrival is bound to the order.
    fn counts(&self, at: usize) -> bool {
        self.arrived
            .get(at)
            .is_some_and(|(number, _)| !self.given_up.contains(number))
    }
}

impl Mailbox {
    /// What came since the last time.
    async fn read(&mut self, gateway: &Caller) -> Vec<Value> {
        let mut mail = Vec::new();
        loop {
            let page = page(gateway, &self.agent, &self.cursor).await;
            let whole = page.len() == PAGE;
            if let Some(last) = page.last() {
                let cursor = last["cursor"].as_str().unwrap();
                cursor.clone_into(&mut self.cursor);
            }
            mail.extend(page);
            if !whole {
                return mail;
            }
        }
    }

    async fn acknowledge(&mut self, gateway: &Caller) {
        if !self.acknowledging {
            return;
        }
        let path = format!("/v1/inbox/{}/ack", self.agent.address);
        let all = std::mem::take(&mut self.unread);
        // Until there is an answer, also when nobody waits for it any more.
        self.unclear.extend(all.iter().cloned());
        for ids in all.chunks(100) {
            let body = json!({ "message_ids": ids });
            let key = Some(self.agent.key.as_str());
            match gateway.ask_soon(Method::POST, &path, key, Some(body)).await {
                Ok(answer) if answer.status() == StatusCode::OK => {
                    self.unclear.retain(|id| !ids.contains(id));
                    self.acknowledged.extend(ids.iter().cloned());
                }
                Ok(answer) if answer.status() != StatusCode::SERVICE_UNAVAILABLE => {
                    panic!("{answer:?}")
                }
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// The whole inbox is what was read of it and not acknowledged.
    async fn assert_whole(&self, gateway: &Caller) {
        let mut cursor = String::new();
        let mut there = HashSet::new();
        loop {
            let page = page(gateway, &self.agent, &cursor).await;
            let Some(last) = page.last() else {
                break;
            };
            last["cursor"].as_str().unwrap().clone_into(&mut cursor);
            there.extend(
                page.iter()
                    .map(|it| it["message_id"].as_str().unwrap().to_owned()),
            );
        }
        let address = &self.agent.address;
        for id in &self.unread {
            assert!(there.remove(id), "{address}: {id} went after it was read");
        }
        for id in there {
            assert!(
                self.unclear.contains(&id),
                "{address}: {id} was never read on from the cursor"
            );
        }
    }
}

/// A page of an inbox, as soon as the gateway answers.
async fn page(gateway: &Caller, agent: &Agent, cursor: &str) -> Vec<Value> {
    let path = format!("/v1/inbox/{}?limit={PAGE}&cursor={cursor}", agent.address);
    let key = Some(agent.key.as_str());
    eventually_so("an inbox", PATIENCE, async || {
        let answer = gateway.ask_soon(Method::GET, &path, key, None).await.ok()?;
        let said: Value = serde_json::from_slice(answer.body()).unwrap_or(Value::Null);
        match answer.status() {
            StatusCode::OK => Some(said["messages"].as_array().unwrap().clone()),
            StatusCode::SERVICE_UNAVAILABLE => None,
            other => panic!("{other} {said}"),
        }
    })
    .await
}

/// A lane with these arrivals, of which some were given up.
fn lane(arrived: &[u64], given_up: &[u64]) -> Lane {
    let mut lane = Lane {
        given_up: given_up.iter().copied().collect(),
        ..Lane::default()
    };
    for number in arrived {
        lane.places.insert(*number, lane.arrived.len());
        lane.arrived.push((*number, format!("id-{number}")));
        // Looked at each time, as in a run.
        lane.assert_order(&(String::new(), String::new()));
    }
    lane
}

#[test]
fn the_order_is_that_of_submission_but_for_what_was_given_up() {
    lane(&[0, 1, 3, 2, 4], &[2]);
    lane(&[2, 0, 1, 3], &[2]);
}

#[test]
#[should_panic(expected = "1 came after Some(2)")]
fn another_order_is_found() {
    lane(&[0, 2, 1], &[]);
}

#[test]
#[should_panic(expected = "3 came after Some(5)")]
fn another_order_is_found_behind_what_was_given_up() {
    lane(&[0, 5, 7, 3], &[7]);
}

#[test]
#[should_panic(expected = "1 was promised as id-1 and is lost")]
fn a_loss_is_found() {
    let mut lane = lane(&[0, 2], &[]);
    lane.promised.insert(1, "id-1".to_owned());
    lane.assert_there(&(String::new(), String::new()), 1, true);
}
