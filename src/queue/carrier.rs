//! Carries one dispatch: load, try, judge, settle.
//!
//! The manager learns first what came of an attempt, so that lanes in which all went well go on;
//! and a second time when it is on disk. A bounce or reply is stored in the commit that settles
//! its cause.

mod by_mail;
mod entering;
mod loading;
mod settling;
mod ways;

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;
use uuid::Uuid;

use super::backoff::Schedule;
use super::notices::Notices;
use super::pace::Paces;
use super::share::{Hold, Share};
use super::verdict::{self, Verdict};
use super::window::{After, Dispatch, Report};
use crate::clock::Clock;
use crate::intake::{Claim, Intake};
use crate::protocol::{ErrorCode, Message, Timestamp};
use crate::store::{Accepting, AttemptNote, Delivery, Store};
use crate::telemetry::Metrics;
use crate::topics::Topics;
use crate::transport::{Attempted, Copy, Destination, Fault, Outcome, Parcel, Trouble};

pub use ways::Transports;

/// After a database fault a dispatch is looked at again after this time.
const AGAIN: Duration = Duration::from_secs(5);

/// What the manager is told.
#[derive(Debug)]
pub(super) enum Event {
    /// An attempt was answered.
    Answered {
        id: u64,
        results: Vec<(i64, After)>,
        report: Report,
    },
    /// What came of it is on disk, or could not be put there.
    Landed { id: u64, settled: Result<(), ()> },
}

/// Where the deliveries of a dispatch are.
pub(super) enum Cargo {
    /// In the database.
    Stored,
    /// On their way before they are on disk.
    Early(Vec<Delivery>, Accepting, Claim),
}

/// Carries dispatches.
pub(super) struct Carrier {
    pub(super) store: Store,
    pub(super) intake: Intake,
    pub(super) transports: Transports,
    pub(super) topics: Topics,
    pub(super) notices: Notices,
    pub(super) paces: Paces,
    pub(super) schedule: Schedule,
    /// After this time of failing the sender is told.
    pub(super) delay_notice: Option<Duration>,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
    /// Which lanes are this gateway's.
    pub(super) share: Share,
}

/// A dispatch with the right to it.
struct Job<'a> {
    dispatch: Dispatch,
    hold: Hold,
    tell: &'a UnboundedSender<Event>,
}

/// The lanes of a dispatch are another gateway's, or may be soon.
struct Lost;

/// What came of a dispatch.
#[derive(Default)]
struct Tried {
    done: Vec<Done>,
    /// Those that were not tried, because an earlier one of their lane has to go first.
    waiting: Vec<i64>,
}

/// A delivery with what came of it.
struct Done {
    delivery: Delivery,
    message: Message,
    verdict: Verdict,
    attempt: Option<AttemptNote>,
    reply: Option<Bytes>,
    /// The pause the other side asked for.
    asked: Option<Duration>,
    /// Whether what deferred it concerns the whole destination.
    concerns_all: bool,
    /// How it failed, where it did.
    end: End,
}

/// How a delivery came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The other side said so, or it did not end.
    Told,
    /// It was tried for as long as it may be.
    Exhausted,
}

impl Carrier {
    /// Carries a dispatch of the window.
    pub(super) async fn carry(
        &self,
        dispatch: Dispatch,
        (cargo, hold): (Cargo, Hold),
        tell: UnboundedSender<Event>,
    ) {
        let id = dispatch.id;
        let (loaded, accepting) = match cargo {
            Cargo::Early(deliveries, accepting, claim) => {
                (Ok((deliveries, Vec::new())), Some((accepting, claim)))
            }
            Cargo::Stored => (self.load_in_order(&dispatch).await, None),
        };
        let settled = match loaded {
            Ok(loaded) => {
                let job = Job {
                    dispatch,
                    hold,
                    tell: &tell,
                };
                self.deliver(job, loaded, accepting).await
            }
            Err(error) => {
                tracing::error!(%error, "deliveries could not be read");
                let until = self.clock.now().plus(AGAIN);
                let again = After::Blocked {
                    until,
                    destination_fault: false,
                };
                let results = dispatch.groups.concat().into_iter().map(|seq| (seq, again));
                send(&tell, id, results.collect(), Report::Unknown);
                Ok(())
            }
        };
        // The manager outlives its carriers.
        drop(tell.send(Event::Landed { id, settled }));
    }

    async fn deliver(
        &self,
        job: Job<'_>,
        (deliveries, overtaken): (Vec<Delivery>, Vec<(i64, After)>),
        accepting: Option<(Accepting, Claim)>,
    ) -> Result<(), ()> {
        let Job {
            dispatch,
            hold,
            tell,
        } = job;
        let Some(destination) = Destination::parse(&dispatch.destination) else {
            tracing::error!(
                destination = dispatch.destination,
                "an unknown kind of destination"
            );
            return Err(());
        };
        let agent = match destination {
            Destination::Agent(number) | Destination::Group(number) => self
                .store
                .find_agent_by_number(number)
                .await
                .unwrap_or(None),
            Destination::Peer(_) | Destination::List(_) | Destination::Mail(_) => None,
        };
        if let Some(agent) = &agent
            && self.is_for_mailbox(&destination, agent).await
        {
            if let Some((accepting, claim)) = accepting {
                drop((accepting.decision().await, claim));
            }
            return self
                .move_to_inbox(dispatch.id, agent.id, deliveries, tell)
                .await;
        }
        let attempted = self
            .attempt(&destination, (&dispatch, &hold), deliveries)
            .await;
        let Ok(Tried { mut done, waiting }) = attempted else {
            // Not tried: its lanes are looked at again, by whose they are.
            if let Some((accepting, claim)) = accepting {
                drop((accepting.decision().await, claim));
            }
            return Err(());
        };
        let report = report(&done);
        self.try_mail(&destination, &mut done).await;
        let untried = waiting.into_iter().map(|seq| (seq, After::Waits));
        let untried: Vec<_> = overtaken.into_iter().chain(untried).collect();
        let gone = missing(&dispatch, &done, &untried);
        let results = done
            .iter()
            .map(|it| (it.delivery.seq, it.verdict.after(it.delivery.loose)))
            .chain(gone)
            .chain(untried)
            .collect();
        send(tell, dispatch.id, results, report);
        if let Some((accepting, claim)) = accepting {
            let decision = accepting.decision().await;
            drop(claim);
            if let Err(error) = decision {
                tracing::error!(%error, "a message on the immediate path could not be stored");
                return Ok(());
            }
        }
        self.settle((&destination, agent.as_deref()), &hold, done)
            .await
    }

    /// Gives up deliveries whose time is over, whatever their lanes do.
    pub(super) async fn give_up(&self, seqs: Vec<i64>) {
        let deliveries = match self.load(&seqs).await {
            Ok(deliveries) => deliveries,
            Err(error) => {
                tracing::error!(%error, "deliveries could not be read");
                return;
            }
        };
        let (now, hold) = (self.clock.now(), self.share.hold());
        let mut by_destination: HashMap<String, Vec<Done>> = HashMap::new();
        for delivery in deliveries {
            let Ok(message) = delivery.stored.message() else {
                continue;
            };
            if let Some(verdict) = verdict::before(&delivery, message.expires(), now) {
                let destination = delivery.destination.clone();
                let done = Done::before(delivery, message, verdict);
                by_destination.entry(destination).or_default().push(done);
            }
        }
        for (name, mut done) in by_destination {
            if let Some(destination) = Destination::parse(&name) {
                self.try_mail(&destination, &mut done).await;
                // What could not be settled is given up at the next round.
                let _ = self.settle((&destination, None), &hold, done).await;
            }
        }
    }

    /// Tries what may be tried, and judges it; nothing where a lane is not this gateway's any more.
    async fn attempt(
        &self,
        destination: &Destination,
        (dispatch, hold): (&Dispatch, &Hold),
        deliveries: Vec<Delivery>,
    ) -> Result<Tried, Lost> {
        let now = self.clock.now();
        let mut found: HashMap<i64, Delivery> =
            deliveries.into_iter().map(|it| (it.seq, it)).collect();
        let (mut parcels, mut going, mut tried) = (Vec::new(), Vec::new(), Tried::default());
        for group in &dispatch.groups {
            let mut copies = Vec::new();
            let mut parcel = None;
            for delivery in group.iter().filter_map(|seq| found.remove(seq)) {
                let Ok(message) = delivery.stored.message() else {
                    continue;
                };
                if let Some(verdict) = verdict::before(&delivery, message.expires(), now) {
                    tried.done.push(Done::before(delivery, message, verdict));
                    continue;
                }
                copies.push(copy(&delivery));
                parcel.get_or_insert((delivery.stored.clone(), message.clone()));
                going.push((delivery, message));
            }
            if let Some((stored, message)) = parcel {
                parcels.push(Parcel {
                    stored,
                    message,
                    copies,
                });
            }
        }
        if parcels.is_empty() {
            return Ok(tried);
        }
        self.paces.wait(destination, parcels.len()).await;
        let holds = |it: &Delivery| self.share.still_holds(hold, it.lane);
        if !going.iter().all(|(delivery, _)| holds(delivery)) {
            return Err(Lost);
        }
        let started = self.clock.monotonic();
        let transport = self.transports.of(destination);
        let attempted = transport.carry(destination, parcels).await;
        let took = self.clock.monotonic() - started;
        let mut attempted = attempted.into_iter().flatten();
        for (delivery, message) in going {
            let attempted = attempted.next().unwrap_or_else(unanswered);
            let seq = delivery.seq;
            match self.judge(destination, (delivery, message), attempted, (now, took)) {
                Some(done) => tried.done.push(done),
                None => tried.waiting.push(seq),
            }
        }
        Ok(tried)
    }

    /// What an attempt came to; nothing where there was none.
    fn judge(
        &self,
        destination: &Destination,
        (delivery, message): (Delivery, Message),
        attempted: Attempted,
        (made_at, took): (Timestamp, Duration),
    ) -> Option<Done> {
        let now = self.clock.now();
        let verdict = verdict::of(&delivery, &attempted, now, (&self.schedule, chance()))?;
        let result = match &attempted.outcome {
            Outcome::Deferred(trouble) | Outcome::Failed(trouble) => trouble.code.as_str(),
            Outcome::Delivered { .. } | Outcome::Waits => "ok",
        };
        self.metrics.queue().attempted(destination.class(), result);
        log(&delivery, &verdict, &attempted, took);
        let (asked, concerns_all) = match &attempted.outcome {
            Outcome::Deferred(trouble) => {
                (trouble.retry_after, trouble.fault == Fault::Destination)
            }
            _ => (None, false),
        };
        Some(Done {
            asked,
            concerns_all,
            end: match &attempted.outcome {
                Outcome::Deferred(_) => End::Exhausted,
                _ => End::Told,
            },
            attempt: Some(AttemptNote {
                made_at,
                took: u32::try_from(took.as_millis()).unwrap_or(u32::MAX),
                remote: attempted.remote,
            }),
            reply: match attempted.outcome {
                Outcome::Delivered { reply } => reply,
                _ => None,
            },
            delivery,
            message,
            verdict,
        })
    }
}

impl Done {
    /// What ended before it was tried.
    fn before(delivery: Delivery, message: Message, verdict: Verdict) -> Self {
        Self {
            delivery,
            message,
            verdict,
            attempt: None,
            reply: None,
            asked: None,
            concerns_all: false,
            end: End::Exhausted,
        }
    }

    fn code(&self) -> Option<ErrorCode> {
        match &self.verdict {
            Verdict::Failed(reason) => Some(reason.code),
            Verdict::Expired => Some(ErrorCode::MessageExpired),
            _ => None,
        }
    }

    fn attempts(&self) -> u32 {
        self.delivery.attempts + u32::from(self.attempt.is_some())
    }
}

fn copy(delivery: &Delivery) -> Copy {
    Copy {
        seq: delivery.seq,
        recipient: delivery.recipient.clone(),
        attempts: delivery.attempts,
        first_attempt: delivery.first_attempt,
        wire: delivery.wire.clone(),
        renew: delivery.renew,
    }
}

/// What the transport said nothing about.
fn unanswered() -> Attempted {
    Attempted {
        outcome: Outcome::Deferred(Trouble {
            code: ErrorCode::TemporaryFailure,
            text: "no answer for this recipient".to_owned(),
            fault: Fault::Message,
            retry_after: None,
        }),
        remote: None,
        renew: false,
    }
}

/// What attempts tell of the destination as a whole.
fn report(done: &[Done]) -> Report {
    let mut report = Report::Unknown;
    for it in done.iter().filter(|it| it.attempt.is_some()) {
        match &it.verdict {
            Verdict::Deferred { .. } if it.concerns_all => {
                report = match report {
                    Report::Well => Report::Well,
                    Report::Trouble(other) => Report::Trouble(other.max(it.asked)),
                    Report::Unknown | Report::Full(_) => Report::Trouble(it.asked),
                };
            }
            _ => report = Report::Well,
        }
    }
    report
}

/// What was to go and does not wait any more: cancelled, held, or unreadable.
fn missing(dispatch: &Dispatch, done: &[Done], untried: &[(i64, After)]) -> Vec<(i64, After)> {
    dispatch
        .groups
        .iter()
        .flatten()
        .filter(|seq| !done.iter().any(|it| it.delivery.seq == **seq))
        .filter(|seq| !untried.iter().any(|(other, _)| other == *seq))
        .map(|seq| (*seq, After::Done))
        .collect()
}

fn send(tell: &UnboundedSender<Event>, id: u64, results: Vec<(i64, After)>, report: Report) {
    // The manager outlives its carriers.
    drop(tell.send(Event::Answered {
        id,
        results,
        report,
    }));
}

/// A number from 0 to 1.
pub(super) fn chance() -> f64 {
    let bytes = Uuid::new_v4();
    f64::from(u16::from_be_bytes([
        bytes.as_bytes()[0],
        bytes.as_bytes()[1],
    ])) / f64::from(u16::MAX)
}

fn log(delivery: &Delivery, verdict: &Verdict, attempted: &Attempted, took: Duration) {
    let (code, text) = match verdict {
        Verdict::Deferred { reason, .. } | Verdict::Failed(reason) => {
            (reason.code.as_str(), reason.text.as_str())
        }
        _ => ("", ""),
    };
    tracing::info!(
        message.id = delivery.stored.message_id.as_str(),
        message.recipient = %delivery.recipient,
        delivery.destination = delivery.destination,
        delivery.attempt = delivery.attempts + 1,
        delivery.outcome = verdict.as_str(),
        delivery.remote = attempted.remote.as_deref().unwrap_or_default(),
        delivery.took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        error.code = code,
        error.text = text,
        "attempt"
    );
}
