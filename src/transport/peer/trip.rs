//! A trip to a peer: what is still to be sent, in which order, and what came of the rest.
//!
//! - Requests go in the order of the parcels. What must be asked again comes before what follows.
//! - After a trouble that concerns the destination nothing more is sent.
//! - A copy that was deferred holds back the later ones of the same sender and recipient. That they wait
//!   is no attempt, unless they were sent on this trip already.

use std::collections::{HashMap, VecDeque};

use super::super::{Attempted, Copy, Fault, Load, Outcome, Parcel, Trouble};
use super::answer::{Judgement, Verdict};
use super::text;
use crate::protocol::{Address, ErrorCode};
use crate::store::WireIdentity;

/// How often a request is repeated at once.
const MOST_REPEATS: u32 = 2;

/// The copies of one parcel that travel in one request.
#[derive(Debug)]
pub(super) struct Unit {
    /// The message with these copies only.
    pub(super) parcel: Parcel,
    /// Which parcel of the trip this is, and which copies of it.
    place: (usize, Vec<usize>),
    /// How often this was repeated.
    repeats: u32,
    /// Whether it was sent on this trip.
    sent: bool,
}

/// What is still to be sent, and what came of the rest.
#[derive(Debug)]
pub(super) struct Trip {
    pending: VecDeque<Unit>,
    /// To be sent before what is pending.
    leftovers: Vec<Unit>,
    results: Vec<Vec<Attempted>>,
    /// Why nothing more is sent.
    stopped: Option<Trouble>,
    /// Senders and recipients with a deferred message.
    waiting: HashMap<(String, Address), Trouble>,
}

impl Unit {
    /// Lets the copies travel under a fresh identity that is on disk.
    pub(super) fn assign(&mut self, wire: &WireIdentity) {
        for copy in &mut self.parcel.copies {
            copy.wire = Some(wire.clone());
            copy.renew = false;
        }
    }

    /// Takes some copies out, by their places.
    fn part(&self, picked: &[usize]) -> Self {
        let copies = picked.iter().map(|at| self.parcel.copies[*at].clone());
        let slots = picked.iter().map(|at| self.place.1[*at]);
        Self {
            parcel: Parcel {
                stored: self.parcel.stored.clone(),
                message: self.parcel.message.clone(),
                copies: copies.collect(),
            },
            place: (self.place.0, slots.collect()),
            repeats: self.repeats,
            sent: self.sent,
        }
    }

    /// What was sent, to be asked again under a fresh identity.
    fn renewed(mut self) -> Self {
        self.sent = true;
        for copy in &mut self.parcel.copies {
            copy.renew = true;
        }
        self
    }

    /// One unit a copy.
    fn apart(&self) -> impl Iterator<Item = Self> {
        (0..self.parcel.copies.len()).map(|at| self.part(&[at]))
    }

    fn pair(&self, copy: &Copy) -> (String, Address) {
        (self.parcel.stored.sender.clone(), copy.recipient.clone())
    }
}

impl Trip {
    /// All is to be sent.
    pub(super) fn new(parcels: Vec<Parcel>) -> Self {
        let untried = |parcel: &Parcel| {
            let trouble = text::trouble(ErrorCode::TemporaryFailure, Fault::Message, "not tried");
            let result = |copy: &Copy| deferred(copy.renew, None, trouble.clone());
            parcel.copies.iter().map(result).collect()
        };
        let results = parcels.iter().map(untried).collect();
        let unit = |(index, parcel): (usize, Parcel)| Unit {
            place: (index, (0..parcel.copies.len()).collect()),
            parcel,
            repeats: 0,
            sent: false,
        };
        Self {
            pending: parcels.into_iter().enumerate().map(unit).collect(),
            leftovers: Vec::new(),
            results,
            stopped: None,
            waiting: HashMap::new(),
        }
    }

    /// From now on each copy travels alone.
    pub(super) fn split(&mut self) {
        self.pending = self.pending.iter().flat_map(Unit::apart).collect();
    }

    /// What goes next, within a load; nothing when the trip is over.
    pub(super) fn next_run(&mut self, load: Load) -> Vec<Unit> {
        if self.stopped.is_some() {
            return Vec::new();
        }
        self.pending = self.take_all();
        let (mut run, mut bytes) = (Vec::new(), 0_usize);
        while let Some(unit) = self.pending.pop_front() {
            let size = unit.parcel.stored.body.len();
            let fits = run.len() < load.messages && bytes.saturating_add(size) <= load.bytes;
            if !run.is_empty() && !fits {
                self.pending.push_front(unit);
                break;
            }
            if let Some(unit) = self.without_waiting(unit) {
                run.push(unit);
                bytes = bytes.saturating_add(size);
            }
        }
        run
    }

    /// All that is still to be sent, in order.
    pub(super) fn take_all(&mut self) -> VecDeque<Unit> {
        let mut all = std::mem::take(&mut self.pending);
        while let Some(unit) = self.leftovers.pop() {
            all.push_front(unit);
        }
        all
    }

    /// The copies of a unit that need not wait for an earlier message.
    fn without_waiting(&mut self, unit: Unit) -> Option<Unit> {
        let mut free = Vec::new();
        for (at, copy) in unit.parcel.copies.iter().enumerate() {
            match self.waiting.get(&unit.pair(copy)) {
                None => free.push(at),
                Some(trouble) => {
                    let slot = unit.place.1[at];
                    self.results[unit.place.0][slot] = match unit.sent {
                        true => behind(trouble, copy.renew),
                        false => super::unsent(Outcome::Waits),
                    };
                }
            }
        }
        match free.len() {
            0 => None,
            all if all == unit.parcel.copies.len() => Some(unit),
            _ => Some(unit.part(&free)),
        }
    }

    /// Takes note of what an answer means.
    pub(super) fn settle(&mut self, unit: &Unit, judgement: Judgement, remote: Option<&str>) {
        let verdicts = match judgement {
            Judgement::Each(verdicts) => verdicts,
            Judgement::Split => return self.leftovers.extend(unit.apart().map(Unit::renewed)),
        };
        let mut again = Vec::new();
        for (at, verdict) in verdicts.into_iter().enumerate() {
            match verdict {
                Verdict::Repeat if unit.repeats < MOST_REPEATS => again.push(at),
                verdict => self.close((unit, at), verdict, remote),
            }
        }
        if !again.is_empty() {
            let mut again = unit.part(&again).renewed();
            again.repeats += 1;
            self.leftovers.push(again);
        }
    }

    /// Takes note of one verdict on a whole unit.
    pub(super) fn settle_whole(&mut self, unit: &Unit, verdict: &Verdict, remote: Option<&str>) {
        for at in 0..unit.parcel.copies.len() {
            self.close((unit, at), verdict.clone(), remote);
        }
    }

    /// Units that were not sent after all go next, in this order.
    pub(super) fn put_back(&mut self, units: impl IntoIterator<Item = Unit>) {
        self.leftovers.extend(units);
    }

    /// Sends nothing more.
    pub(super) fn stop(&mut self, trouble: Trouble) {
        self.stopped.get_or_insert(trouble);
    }

    /// What came of each copy; what was not sent waits for the reason of the stop.
    pub(super) fn finish(mut self) -> Vec<Vec<Attempted>> {
        if let Some(trouble) = self.stopped.clone() {
            let verdict = Verdict::Deferred(trouble);
            for unit in self.take_all() {
                self.settle_whole(&unit, &verdict, None);
            }
        }
        self.results
    }

    fn close(&mut self, (unit, at): (&Unit, usize), verdict: Verdict, remote: Option<&str>) {
        let copy = &unit.parcel.copies[at];
        let remote = remote.map(str::to_owned);
        let done = |outcome, remote| Attempted {
            outcome,
            remote,
            renew: false,
        };
        let result = match verdict {
            Verdict::Delivered { reply } => done(Outcome::Delivered { reply }, remote),
            Verdict::Failed(trouble) => done(Outcome::Failed(trouble), remote),
            Verdict::Deferred(trouble) => deferred(copy.renew, remote, trouble),
            Verdict::Renewed(trouble) => deferred(true, remote, trouble),
            Verdict::Repeat => deferred(true, remote, only_duplicates()),
        };
        if let Outcome::Deferred(trouble) = &result.outcome {
            if trouble.fault == Fault::Destination {
                self.stop(trouble.clone());
            }
            let first = self.waiting.entry(unit.pair(copy));
            first.or_insert_with(|| trouble.clone());
        }
        self.results[unit.place.0][unit.place.1[at]] = result;
    }
}

const fn deferred(renew: bool, remote: Option<String>, trouble: Trouble) -> Attempted {
    Attempted {
        outcome: Outcome::Deferred(trouble),
        remote,
        renew,
    }
}

/// What was sent without success, and may not be sent again before an earlier message.
fn behind(earlier: &Trouble, renew: bool) -> Attempted {
    let words = format!("an earlier message must go first: {}", earlier.text);
    let trouble = Trouble {
        retry_after: earlier.retry_after,
        ..text::trouble(earlier.code, earlier.fault, &words)
    };
    deferred(renew, None, trouble)
}

fn only_duplicates() -> Trouble {
    text::trouble(
        ErrorCode::TemporaryFailure,
        Fault::Message,
        "the peer answers another request than ours, also under fresh ids: it does not name this recipient as taken under our message_id",
    )
}

#[cfg(test)]
mod tests;
