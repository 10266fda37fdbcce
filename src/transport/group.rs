//! To groups: one of the members takes the message.
//!
//! - While a sender has something under way with a member, what follows of that sender goes to the
//!   same one. Else the group's setting picks: in turn, by what is under way, or by what fits.
//! - Members that take neither the message's schema nor, where it asks for one in the header
//!   `x-amtp-capability` and the group picks by capability, have it, are not asked.
//! - A member that failed rests for a while. Where it surely did not get the message the next one is
//!   tried at once; where that is not sure the message comes again later, so that no two members
//!   work on it at a time.

mod choice;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::webhook::{Reached, WebhookTransport};
use super::{
    Attempted, Carrying, Copy, Destination, Fault, Load, Outcome, Parcel, Transport, Trouble,
};
use crate::clock::Clock;
use crate::protocol::{ErrorCode, Message, Timestamp};
use crate::store::{Agent, Spread, Store};
use crate::telemetry::{Standings, UnderWay};
use choice::{Candidate, Choice};

/// Members tried in one attempt.
const TRIES: usize = 3;
/// The header that asks for something a member can do.
const CAPABILITY: &str = "x-amtp-capability";

/// Carries to the members of groups. Cloning is cheap.
#[derive(Clone)]
pub struct GroupTransport {
    store: Store,
    webhook: WebhookTransport,
    standings: Standings,
    clock: Clock,
    bonds: Bonds,
    /// Whose turn it was last, by group.
    turns: Arc<Mutex<HashMap<i64, usize>>>,
}

impl GroupTransport {
    /// Calls members through `webhook`, and notes in `standings` how they do.
    #[must_use]
    pub fn new(
        store: Store,
        webhook: WebhookTransport,
        standings: Standings,
        clock: Clock,
    ) -> Self {
        Self {
            store,
            webhook,
            standings,
            clock,
            bonds: Bonds::default(),
            turns: Arc::default(),
        }
    }

    async fn deliver(&self, to: &Destination, parcel: &Parcel, copy: &Copy) -> Attempted {
        let Destination::Group(number) = to else {
            return deferred("this is no group", None);
        };
        let (group, members) = match self.find(*number).await {
            Ok(found) => found,
            Err(outcome) => return plain(outcome),
        };
        let candidates = candidates(&group, &members, &parcel.message);
        if candidates.is_empty() && members.iter().any(|member| member.is_called()) {
            return plain(Outcome::Deferred(Trouble {
                code: ErrorCode::RecipientUnavailable,
                text: "no member of the group takes such a message".to_owned(),
                fault: Fault::Message,
                retry_after: None,
            }));
        }
        let mut tried = Vec::new();
        while tried.len() < TRIES {
            let Some((member, _held)) = self.pick(&group, &candidates, (parcel, &tried)) else {
                break;
            };
            tried.push(member);
            let to = Destination::Agent(member);
            let (attempted, reached) = self.webhook.deliver(&to, parcel, copy).await;
            if let Some(attempted) = self.learn(member, attempted, reached) {
                return attempted;
            }
        }
        let rests = candidates
            .iter()
            .filter_map(|it| self.standings.of(it.member).rests_until);
        let now = self.clock.now();
        let pause = rests.min().map(|until| until.since(now));
        deferred("no member of the group can be called at present", pause)
    }

    /// Notes how a member did; nothing where the next may be tried.
    fn learn(&self, member: i64, mut attempted: Attempted, reached: Reached) -> Option<Attempted> {
        let now = self.clock.now();
        match &mut attempted.outcome {
            Outcome::Delivered { .. } => self.standings.succeeded(member, now),
            Outcome::Deferred(trouble) if trouble.fault == Fault::Destination => {
                self.standings.failed(member, now, trouble.retry_after);
                if reached == Reached::Surely {
                    return None;
                }
                // It may have the message: the others wait, but not everything for the group.
                trouble.fault = Fault::Message;
            }
            _ => {}
        }
        Some(attempted)
    }

    /// Picks a member that was not tried yet; it has the message until what is given is dropped.
    fn pick(
        &self,
        group: &Agent,
        candidates: &[Candidate],
        (parcel, tried): (&Parcel, &[i64]),
    ) -> Option<(i64, (UnderWay, Bond))> {
        let now = self.clock.now();
        let well: Vec<(Candidate, usize)> = candidates
            .iter()
            .filter(|it| !tried.contains(&it.member))
            .filter_map(|it| {
                let standing = self.standings.of(it.member);
                standing.is_well(now).then_some((*it, standing.under_way))
            })
            .collect();
        let sender = (group.id, parcel.stored.sender.clone());
        let settings = group.settings.group.as_ref();
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let choice = Choice {
            spread: settings.map_or(Spread::RoundRobin, |group| group.spread),
            bound_to: self.bonds.of(&sender),
            last: turns.get(&group.id).copied(),
        };
        let Candidate { member, place, .. } = choice.of(&well)?;
        turns.insert(group.id, place);
        let held = (
            self.standings.begin(member),
            self.bonds.bind(sender, member),
        );
        Some((member, held))
    }

    async fn find(&self, number: i64) -> Result<(Arc<Agent>, Vec<Arc<Agent>>), Outcome> {
        let later = |error: crate::store::StoreError| {
            tracing::error!(agent.number = number, %error, "a group could not be looked up");
            unready("the group could not be looked up")
        };
        let group = self
            .store
            .find_agent_by_number(number)
            .await
            .map_err(later)?;
        let group = group.ok_or_else(|| {
            Outcome::Failed(Trouble {
                code: ErrorCode::AgentUnknown,
                text: "the group was removed".to_owned(),
                fault: Fault::Message,
                retry_after: None,
            })
        })?;
        if !group.active {
            return Err(unready("the group is inactive"));
        }
        let members = self.store.members_of(&group).await.map_err(later)?;
        Ok((group, members))
    }
}

/// The members that can be called with such a message.
fn candidates(group: &Agent, members: &[Arc<Agent>], message: &Message) -> Vec<Candidate> {
    let spread = group.settings.group.as_ref().map(|group| group.spread);
    let wanted = message
        .header(CAPABILITY)
        .map(|value| value.trim_matches('"'))
        .filter(|_| spread == Some(Spread::Capability));
    let fit = |member: &Agent| -> Option<u8> {
        let settings = &member.settings;
        let able = wanted.is_none_or(|wanted| settings.capabilities.iter().any(|it| it == wanted));
        let names_schema = !settings.supported_schemas.is_empty();
        let takes = !names_schema
            || message.schema().is_some_and(|schema| {
                let mut patterns = settings.supported_schemas.iter();
                patterns.any(|pattern| pattern.matches(schema))
            });
        (able && takes).then_some(u8::from(names_schema))
    };
    let members = members.iter().enumerate();
    let called = members.filter(|(_, member)| member.is_called());
    called
        .filter_map(|(place, member)| {
            Some(Candidate {
                member: member.id,
                place,
                fit: fit(member)?,
            })
        })
        .collect()
}

fn plain(outcome: Outcome) -> Attempted {
    Attempted {
        outcome,
        remote: None,
        renew: false,
    }
}

fn deferred(text: &str, retry_after: Option<std::time::Duration>) -> Attempted {
    match unready(text) {
        Outcome::Deferred(trouble) => plain(Outcome::Deferred(Trouble {
            retry_after,
            ..trouble
        })),
        other => plain(other),
    }
}

/// The group takes nothing at present, whatever the message.
fn unready(text: &str) -> Outcome {
    Outcome::Deferred(Trouble {
        code: ErrorCode::RecipientUnavailable,
        text: text.to_owned(),
        fault: Fault::Destination,
        retry_after: None,
    })
}

impl Transport for GroupTransport {
    fn carry<'a>(&'a self, to: &'a Destination, parcels: Vec<Parcel>) -> Carrying<'a> {
        Box::pin(async move {
            let mut carried = Vec::with_capacity(parcels.len());
            for parcel in &parcels {
                let mut attempts = Vec::with_capacity(parcel.copies.len());
                for copy in &parcel.copies {
                    attempts.push(self.deliver(to, parcel, copy).await);
                }
                carried.push(attempts);
            }
            carried
        })
    }

    fn load(&self, _to: &Destination) -> Load {
        Load::SINGLE
    }
}

type Sender = (i64, String);

/// Which member has something of a sender under way, by group and sender. As many as deliveries are
/// under way.
#[derive(Debug, Clone, Default)]
struct Bonds(Arc<Mutex<HashMap<Sender, (i64, usize)>>>);

/// A bond, until this is dropped.
struct Bond(Bonds, Sender);

impl Bonds {
    fn of(&self, sender: &Sender) -> Option<i64> {
        self.lock().get(sender).map(|(member, _)| *member)
    }

    fn bind(&self, sender: Sender, member: i64) -> Bond {
        let mut all = self.lock();
        let bond = all.entry(sender.clone()).or_insert((member, 0));
        *bond = (member, bond.1 + 1);
        Bond(self.clone(), sender)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Sender, (i64, usize)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Bond {
    fn drop(&mut self) {
        let mut all = self.0.lock();
        if let Some((_, count)) = all.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.1);
            }
        }
    }
}

/// Whether a group has to leave a message to the members that read its mailbox: nobody that is
/// called is well.
#[must_use]
pub fn is_for_readers(members: &[Arc<Agent>], standings: &Standings, now: Timestamp) -> bool {
    let called = || members.iter().filter(|member| member.is_called());
    let well = called().any(|member| {
        let standing = standings.of(member.id);
        standing.rests_until.is_none_or(|until| until <= now)
    });
    let mut readers = members.iter().filter(|it| it.active && !it.is_called());
    !well && (called().next().is_none() || readers.next().is_some())
}
