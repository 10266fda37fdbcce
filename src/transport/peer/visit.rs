//! A trip to a peer whose gateways are known: letters are written, sent, and the answers heard.

use super::super::{Fault, Load};
use super::answer::{self, Asked, Judgement, Verdict, judge};
use super::exchange::Post;
use super::letter::{self, Letter, Memory, References};
use super::route::Route;
use super::trip::{Trip, Unit};
use super::{PeerSettings, PeerTransport, batch, own_trouble, text, together};
use crate::net::Answer;
use crate::protocol::wire::Edit;
use crate::protocol::{ErrorCode, MessageId};
use crate::store::{StoreError, WireIdentity};

/// The largest answers that are read, in bytes.
const LARGEST_ANSWER: usize = 1024 * 1024;
const LARGEST_BATCH_ANSWER: usize = 4 * 1024 * 1024;

/// A unit as it is sent.
type Written = (Unit, Letter);

/// Who visits whom.
pub(super) struct Visit<'a> {
    of: &'a PeerTransport,
    route: Route<'a>,
    settings: &'a PeerSettings,
}

impl<'a> Visit<'a> {
    /// A visit to a peer.
    pub(super) fn to(of: &'a PeerTransport, route: Route<'a>) -> Self {
        let settings = of.settings(route.domain);
        Self {
            of,
            route,
            settings,
        }
    }

    /// Sends what is to be sent, until the trip is over.
    pub(super) async fn make(&self, trip: &mut Trip) {
        if self.of.asks_one_by_one(self.route.domain) {
            trip.split();
        }
        loop {
            let run = trip.next_run(self.load());
            if run.is_empty() {
                return;
            }
            let mut letters = self.write_all(run, trip).await;
            if letters.len() > 1 {
                self.send_batch(letters, trip).await;
            } else if let Some(letter) = letters.pop() {
                self.send_one(letter, trip).await;
            }
        }
    }

    fn load(&self) -> Load {
        self.of.load_on(&self.route)
    }

    /// The letters of a run. What is too large for the peer is settled; when the store fails
    /// nothing more is sent.
    async fn write_all(&self, run: Vec<Unit>, trip: &mut Trip) -> Vec<Written> {
        let memory = if self.of.asks_one_by_one(self.route.domain) {
            Memory::OfSets
        } else {
            self.route.memory()
        };
        let write = |unit| -> together::Each<'_, _> { Box::pin(self.write(unit, memory)) };
        let written = together::all(run.into_iter().map(write).collect()).await;
        if let Some(error) = written.iter().find_map(|(_, it)| it.as_ref().err()) {
            trip.stop(own_trouble(error));
            trip.put_back(written.into_iter().map(|(unit, _)| unit));
            return Vec::new();
        }
        let mut letters = Vec::with_capacity(written.len());
        for (unit, letter) in written {
            let Ok(letter) = letter else { continue };
            match self.route.fitting(letter.body.len()) {
                Ok(_) => letters.push((unit, letter)),
                Err(trouble) => trip.settle_whole(&unit, &Verdict::Failed(trouble), None),
            }
        }
        letters
    }

    async fn write(&self, mut unit: Unit, memory: Memory) -> (Unit, Result<Letter, StoreError>) {
        let letter = self.try_write(&mut unit, memory).await;
        (unit, letter)
    }

    async fn try_write(&self, unit: &mut Unit, memory: Memory) -> Result<Letter, StoreError> {
        let message = unit.parcel.message.clone();
        let references = References {
            in_reply_to: self.reference(message.in_reply_to()).await?,
            workflow_id: self.reference(message.workflow_id()).await?,
        };
        let wire = match letter::known_identity(&unit.parcel, memory) {
            Some(known) => known,
            None => self.fresh_identity(unit).await?,
        };
        let mut letter = letter::write(&unit.parcel, &wire, references);
        if let Some(signing) = &self.of.signing {
            signing.sign(&unit.parcel, &mut letter).await;
        }
        Ok(letter)
    }

    /// A new identity for a unit; it is on disk.
    async fn fresh_identity(&self, unit: &mut Unit) -> Result<WireIdentity, StoreError> {
        let tools = &self.of.tools;
        let wire = WireIdentity {
            id: tools.clock.mint_v7().into(),
            key: uuid::Uuid::new_v4().into(),
            recipients: letter::count(&unit.parcel.copies),
        };
        let from = unit.parcel.copies.iter().map(|copy| {
            let id = copy.wire.as_ref().map(|wire| wire.id.clone());
            (copy.seq, id)
        });
        let deliveries = (unit.parcel.stored.mid, from.collect());
        tools
            .store
            .assign_identity(deliveries, wire.clone())
            .await?;
        unit.assign(&wire);
        Ok(wire)
    }

    /// What becomes of a reference to another message: other ids than UUIDs mean something only
    /// to the domain they came from.
    async fn reference(
        &self,
        id: Option<&MessageId>,
    ) -> Result<Edit<&'static MessageId>, StoreError> {
        let Some(id) = id.filter(|id| !id.is_uuid_v7()) else {
            return Ok(Edit::Keep);
        };
        let known = self.of.tools.store.came_from(id, self.route.domain).await?;
        Ok(if known { Edit::Keep } else { Edit::Omit })
    }

    async fn send_one(&self, (unit, letter): Written, trip: &mut Trip) {
        let to = match self.route.fitting(letter.body.len()) {
            Ok(to) => to,
            Err(trouble) => return trip.settle_whole(&unit, &Verdict::Failed(trouble), None),
        };
        let post = Post {
            route: "/v1/messages",
            content_type: "application/json",
            encoding: None,
            traceparent: letter::traceparent(&unit.parcel.message),
            body: letter.body.clone(),
            largest_answer: LARGEST_ANSWER,
        };
        match post.send(&to, self.settings, &self.of.tools.clock).await {
            Ok(answer) => {
                let remote = answer.remote.map(|remote| remote.to_string());
                let heard = heard(&answer, remote.as_deref());
                self.hear((&unit, &letter), &heard, trip);
            }
            Err(trouble) => {
                self.keep(&letter);
                trip.settle_whole(&unit, &Verdict::Deferred(trouble), None);
            }
        }
    }

    async fn send_batch(&self, letters: Vec<Written>, trip: &mut Trip) {
        let lines = batch::lines(letters.iter().map(|(_, letter)| &letter.body));
        let compressed = batch::compressed(&lines).await;
        let post = Post {
            route: "/v1/messages/batch",
            content_type: "application/x-ndjson",
            encoding: compressed.is_some().then_some("gzip"),
            traceparent: None,
            body: compressed.unwrap_or(lines).into(),
            largest_answer: LARGEST_BATCH_ANSWER,
        };
        let clock = &self.of.tools.clock;
        match post
            .send(&self.route.batching(), self.settings, clock)
            .await
        {
            Ok(answer) if batch::is_refusal(answer.status) => {
                self.of.no_batch.note(self.route.domain, clock.monotonic());
                trip.put_back(letters.into_iter().map(|(unit, _)| unit));
            }
            Ok(answer) => self.hear_batch(&letters, &answer, trip),
            Err(trouble) => {
                let verdict = Verdict::Deferred(trouble);
                for (unit, letter) in &letters {
                    self.keep(letter);
                    trip.settle_whole(unit, &verdict, None);
                }
            }
        }
    }

    /// Takes the answer to a batch: line by line, or the whole for each.
    fn hear_batch(&self, letters: &[Written], answer: &Answer, trip: &mut Trip) {
        let remote = answer.remote.map(|remote| remote.to_string());
        let whole = heard(answer, remote.as_deref());
        if !answer.status.is_success() {
            if batch::may_be_one_message(answer.status) {
                let now = self.of.tools.clock.monotonic();
                self.of.no_batch.note(self.route.domain, now);
            }
            for (unit, letter) in letters {
                self.hear((unit, letter), &whole, trip);
            }
            return;
        }
        let lines = batch::answers(&answer.body);
        for (at, (unit, letter)) in letters.iter().enumerate() {
            match lines.get(at).and_then(Option::as_ref) {
                Some(line) => {
                    let heard = answer::Answer {
                        status: line.status,
                        body: &line.body,
                        retry_after: line.retry_after,
                        ..whole
                    };
                    self.hear((unit, letter), &heard, trip);
                }
                None => {
                    self.keep(letter);
                    trip.settle_whole(unit, &no_line(lines.len()), whole.remote);
                }
            }
        }
    }

    /// Takes the answer to one unit.
    fn hear(&self, (unit, letter): (&Unit, &Letter), answer: &answer::Answer<'_>, trip: &mut Trip) {
        let clock = &self.of.tools.clock;
        let asked = Asked {
            id: &letter.id,
            copies: &unit.parcel.copies,
            now: clock.now(),
        };
        let judgement = judge(answer, &asked);
        if judgement == Judgement::Split {
            let now = clock.monotonic();
            self.of.one_by_one.note(self.route.domain, now);
        }
        if judgement.defers() {
            self.keep(letter);
        }
        trip.settle(unit, judgement, answer.remote);
    }

    /// The signature of a letter that will be sent again.
    fn keep(&self, letter: &Letter) {
        if let Some(signing) = &self.of.signing {
            signing.keep(letter);
        }
    }
}

fn heard<'a>(answer: &'a Answer, remote: Option<&'a str>) -> answer::Answer<'a> {
    answer::Answer {
        status: answer.status,
        headers: &answer.headers,
        retry_after: None,
        body: &answer.body,
        remote,
    }
}

fn no_line(lines: usize) -> Verdict {
    Verdict::Deferred(text::trouble(
        ErrorCode::TemporaryFailure,
        Fault::Destination,
        &format!(
            "the peer's answer to a batch says nothing readable about this message; it has {lines} lines"
        ),
    ))
}
