//! The queue's manager: reads what waits, lets go what may go, and learns what came of it.
//!
//! It sleeps until something is committed, answered or due. What is in memory is bounded; what is
//! down costs one entry. Waiting may be cancelled, delivering may not: on the way down nothing new
//! goes, and what is under way is waited for.
//!
//! Where gateways share the database it works on the own shards only: see `manager/sharing.rs`.

mod sharing;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::carrier::{Cargo, Carrier, Event, chance};
use super::lane::LaneKey;
use super::window::{Dispatch, Limits, Next, Range, Window};
use crate::events::{Events, Topic};
use crate::intake::Offer;
use crate::protocol::Timestamp;
use crate::store::{
    Acceptance, Begin, Delivery, Feed, Plan, QueueRow, Store, StoreError, StoredMessage, lane_of,
};
use crate::telemetry::{Post, QueueGauges, WorkerState};
use crate::transport::{Destination, Load};
use sharing::Sharing;

/// Rows read at a time.
const PAGE: usize = 2_000;
/// Deliveries given up at a time.
const GIVEN_UP: usize = 200;
/// How often what is out of its lane, given up, or to be counted is looked for.
const ROUND: Duration = Duration::from_secs(10);
/// How often rows are read into a window that is nearly full: a reading costs as much as many rows.
const TRICKLE: Duration = Duration::from_millis(20);
/// How often full mailboxes are looked at because something left one, at most.
const ROOM: Duration = Duration::from_millis(100);
/// Destinations that are down are named up to this number.
const SHOWN: usize = 5;
/// After a database fault reading is tried again after this time.
const FAULT: Duration = Duration::from_secs(1);

/// A worker failed in a way that must not happen.
#[derive(Debug, thiserror::Error)]
#[error("a delivery task broke: {0}")]
pub struct QueueFault(String);

/// How much the queue holds and sends.
#[derive(Debug, Clone, Copy)]
pub struct QueueLimits {
    /// Deliveries in memory.
    pub window: usize,
    /// Requests under way to one webhook.
    pub concurrency: usize,
    /// Requests under way to one gateway.
    pub to_gateways: usize,
    /// Connections to the mail servers of one domain.
    pub to_mail: usize,
}

/// The manager of the queue.
pub struct Manager {
    carrier: Arc<Carrier>,
    store: Store,
    events: Events,
    window: Window,
    offers: mpsc::Receiver<Offer>,
    tell: UnboundedSender<Event>,
    told: UnboundedReceiver<Event>,
    tasks: JoinSet<()>,
    post: Post,
    /// Whether there may be rows above the high mark.
    unread: bool,
    /// When they may be read though the window has little room.
    next_reading: Timestamp,
    next_round: Timestamp,
    /// When full mailboxes may be looked at because something left one.
    next_room: Timestamp,
    /// When what is out of its lane is looked for.
    loose_at: Option<Timestamp>,
    sharing: Sharing,
    stop: CancellationToken,
    /// What is in memory, by the piece, as of the last time it went to sleep.
    #[cfg(test)]
    pieces: Arc<std::sync::atomic::AtomicUsize>,
}

impl Manager {
    /// A manager that lets `carrier` carry, and takes `offers` of the immediate path.
    pub(super) fn new(
        carrier: Carrier,
        limits: QueueLimits,
        offers: mpsc::Receiver<Offer>,
        post: Post,
    ) -> Self {
        // Two events a dispatch, and the window bounds how many are under way.
        let (tell, told) = mpsc::unbounded_channel();
        let limits = Limits {
            rows: limits.window,
            concurrency: limits.concurrency,
            to_gateways: limits.to_gateways,
            to_mail: limits.to_mail,
        };
        let now = carrier.clock.now();
        let mut window = Window::new(limits, carrier.schedule);
        if carrier.share.is_kept() {
            window = window.sharing();
        }
        Self {
            store: carrier.store.clone(),
            events: carrier.store.events().clone(),
            window,
            sharing: Sharing::new(carrier.share.clone()),
            stop: CancellationToken::new(),
            carrier: Arc::new(carrier),
            offers,
            tell,
            told,
            tasks: JoinSet::new(),
            post,
            unread: true,
            next_reading: now,
            next_round: now,
            next_room: now,
            loose_at: Some(now),
            #[cfg(test)]
            pieces: Arc::default(),
        }
    }

    /// Where it says how much it has in memory.
    #[cfg(test)]
    pub(crate) fn pieces(&self) -> Arc<std::sync::atomic::AtomicUsize> {
        self.pieces.clone()
    }

    /// Works until stopped, then waits for what is under way.
    ///
    /// # Errors
    /// [`QueueFault`] when a task broke: the process must end.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), QueueFault> {
        let mut new_rows = self.events.subscribe(Topic::Queue);
        let mut control = self.events.subscribe(Topic::Control);
        let mut room = self.events.subscribe(Topic::Room);
        self.stop = stop.clone();
        loop {
            let wake = self.work().await;
            self.show(WorkerState::Idle);
            let clock = self.carrier.clock.clone();
            let pause = wake.since(clock.now());
            tokio::select! {
                () = stop.cancelled() => break,
                Some(event) = self.told.recv() => self.learn(event),
                Some(offer) = self.offers.recv() => self.take(offer).await,
                Some(ended) = self.tasks.join_next() => {
                    ended.map_err(|fault| QueueFault(fault.to_string()))?;
                }
                () = new_rows.changed() => self.unread = true,
                () = control.changed() => {
                    self.window.look_again(clock.now());
                    self.loose_at = Some(clock.now());
                }
                () = room.changed() => self.look_for_room(clock.now()),
                () = self.sharing.share.changed() => {}
                () = clock.wait(pause) => {}
            }
            self.learn_all();
        }
        self.drain().await
    }

    fn look_for_room(&mut self, now: Timestamp) {
        if now >= self.next_room {
            self.next_room = now.plus(ROOM);
            self.window.look_for_room(now);
        }
    }

    /// Takes in what came of attempts, without waiting.
    fn learn_all(&mut self) {
        while let Ok(event) = self.told.try_recv() {
            self.learn(event);
        }
    }

    fn learn(&mut self, event: Event) {
        let now = self.carrier.clock.now();
        match event {
            Event::Answered {
                id,
                results,
                report,
            } => self.window.answered(id, &results, (report, chance()), now),
            Event::Landed { id, settled } => {
                self.window.landed(id, settled, now);
                // It may have left its lane.
                self.loose_at = Some(self.loose_at.map_or(now, |at| at.min(now.plus(FAULT))));
            }
        }
    }

    /// Reads and lets go until there is nothing to do; says when there will be.
    async fn work(&mut self) -> Timestamp {
        let clock = self.carrier.clock.clone();
        if self.take_stock() {
            self.round(clock.now()).await;
        }
        loop {
            let now = clock.now();
            if !self.take_stock() {
                // What is under way goes on; the keeper says when more may.
                return self.next_round.max(now.plus(FAULT));
            }
            self.look(now).await;
            if self.may_read(now) {
                self.read_new(now).await;
            }
            let destinations = self.carrier.transports.clone();
            let load = |name: &str| {
                Destination::parse(name).map_or(Load::SINGLE, |it| destinations.of(&it).load(&it))
            };
            match self.window.next(now, load) {
                Next::Dispatch(dispatch) => self.launch(dispatch, Cargo::Stored),
                Next::Lane(name, key, range) => self.read_lane(&name, key, range, now).await,
                Next::Destination(name, range) => self.read_destination(&name, range, now).await,
                Next::Wait(_) if self.may_read(now) => {}
                Next::Wait(until) => return self.wake_at(until, now),
            }
            // What came of attempts goes first: it frees lanes.
            self.learn_all();
        }
    }

    /// When there is something to do, at the latest.
    fn wake_at(&self, due: Option<Timestamp>, now: Timestamp) -> Timestamp {
        let reading = (self.unread && self.window.room() > 0).then_some(self.next_reading);
        let moments = [due, reading, self.next_look(now), self.loose_at];
        { moments.into_iter().flatten() }.fold(self.next_round, Timestamp::min)
    }

    /// What is done now and then: loose deliveries, given up ones, gauges.
    async fn round(&mut self, now: Timestamp) {
        if self.loose_at.is_some_and(|at| at <= now) {
            self.read_loose(now).await;
        }
        if now < self.next_round {
            return;
        }
        self.next_round = now.plus(ROUND);
        self.carrier.notices.tidy();
        self.carrier.paces.tidy();
        let shards = self.sharing.shards();
        if let Ok(rows) = self
            .store
            .feed_of(&shards, &Feed::GivenUp(now), GIVEN_UP)
            .await
        {
            let seqs: Vec<i64> = rows
                .iter()
                .map(|row| row.seq)
                .filter(|seq| !self.window.is_under_way(*seq))
                .collect();
            if !seqs.is_empty() {
                if seqs.len() == GIVEN_UP {
                    self.next_round = now.plus(FAULT);
                }
                // Nothing is let go meanwhile: it would be given up twice, and its sender told twice.
                self.carrier.give_up(seqs).await;
            }
        }
        if let Ok((depth, oldest)) = self.store.queue_depth().await {
            let oldest = oldest.map_or(0, |oldest| now.since(oldest).as_secs());
            self.carrier
                .metrics
                .queue()
                .gauges(QueueGauges { depth, oldest });
        }
    }

    /// Whether what was not read yet is to be read now.
    fn may_read(&self, now: Timestamp) -> bool {
        let is_time = now >= self.next_reading || self.tasks.is_empty();
        self.unread && self.window.room() > 0 && (is_time || self.window.has_room_for(PAGE))
    }

    async fn read_new(&mut self, now: Timestamp) {
        self.next_reading = now.plus(TRICKLE);
        // Rows committed while this reads wake the loop again.
        let limit = self.window.room().min(PAGE);
        let rows = self.rows(&Feed::After(self.window.high()), limit).await;
        self.unread = rows.len() == limit;
        self.window.feed(rows, now);
    }

    async fn read_loose(&mut self, now: Timestamp) {
        let rows = self.rows(&Feed::Loose(now), PAGE).await;
        self.window.feed_loose(rows, now);
        self.loose_at = match self.store.next_loose().await {
            Ok(next) => next.map(|at| at.max(now.plus(FAULT))),
            Err(_) => Some(now.plus(ROUND)),
        };
    }

    async fn read_lane(&mut self, name: &str, key: LaneKey, range: Range, now: Timestamp) {
        let LaneKey::Pair(lane) = key else {
            return self.window.lane_read((name, key), range, Vec::new(), now);
        };
        let feed = Feed::Lane(lane, range.from, range.to);
        let mut rows = self.rows(&feed, range.limit).await;
        // A lane is of one destination; a number that two lanes share would mix them.
        rows.retain(|row| row.destination == name);
        self.window.lane_read((name, key), range, rows, now);
    }

    async fn read_destination(&mut self, name: &str, range: Range, now: Timestamp) {
        let feed = Feed::Destination(name.to_owned(), range.from, range.to);
        let rows = self.rows(&feed, range.limit).await;
        self.window.destination_read(name, range, rows, now);
    }

    /// Reads rows; where the database fails, again until it does not.
    async fn rows(&self, feed: &Feed, limit: usize) -> Vec<QueueRow> {
        let shards = self.sharing.shards();
        while !self.stop.is_cancelled() {
            match self.store.feed_of(&shards, feed, limit).await {
                Ok(rows) => return rows,
                Err(StoreError::Closed) => return Vec::new(),
                Err(error) => {
                    tracing::error!(%error, "the queue could not be read");
                    tokio::select! {
                        () = self.carrier.clock.wait(FAULT) => {}
                        () = self.stop.cancelled() => {}
                    }
                }
            }
        }
        // Nothing goes any more: it does not matter what is forgotten.
        Vec::new()
    }

    fn launch(&mut self, dispatch: Dispatch, cargo: Cargo) {
        let (carrier, tell) = (self.carrier.clone(), self.tell.clone());
        let hold = self.sharing.hold();
        self.tasks
            .spawn(async move { carrier.carry(dispatch, (cargo, hold), tell).await });
    }

    /// Takes a message of the immediate path, if nothing stands before it.
    async fn take(&mut self, offer: Offer) {
        let Offer {
            mut acceptance,
            taken,
            claim,
        } = offer;
        if self.unread {
            self.read_new(self.carrier.clock.now()).await;
        }
        let Some(dispatch) = self.early(&mut acceptance).await else {
            // The caller is gone: then so is the message, nobody was promised anything.
            drop(taken.send(Err(Box::new(acceptance))));
            return;
        };
        let deliveries = deliveries(&acceptance, &dispatch.destination);
        match self.store.begin_accept(acceptance).await {
            Ok(accepting) => {
                drop(taken.send(Ok(())));
                self.launch(dispatch, Cargo::Early(deliveries, accepting, claim));
            }
            // The store is closed: the caller is told by the dropped answer.
            Err(_) => self
                .window
                .landed(dispatch.id, Ok(()), self.carrier.clock.now()),
        }
    }

    /// Gives a message its numbers and its turn, if it may go at once: to one destination only.
    async fn early(&mut self, acceptance: &mut Acceptance) -> Option<Dispatch> {
        let mut destination: Option<String> = None;
        for recipient in &acceptance.recipients {
            let Plan::Queue {
                destination: name,
                terms,
                ..
            } = &recipient.plan
            else {
                return None;
            };
            if terms.begin == Begin::Held {
                return None;
            }
            if destination.get_or_insert_with(|| name.clone()) != name {
                return None;
            }
        }
        let lanes = acceptance.recipients.iter();
        let envelope = &acceptance.envelope;
        let mut lanes = lanes.map(|recipient| lane_of(envelope, recipient));
        if !self.may_go_early(&mut lanes) {
            return None;
        }
        let reserved = self.store.reserve(acceptance.recipients.len()).await;
        let (mid, seqs) = reserved.ok()?;
        let lanes = acceptance.recipients.iter();
        let lanes = lanes.map(|recipient| lane_of(&acceptance.envelope, recipient));
        let numbers: Vec<(i64, i64)> = seqs.into_iter().zip(lanes).collect();
        let store = &self.store;
        let bytes = acceptance.envelope.message.raw().len();
        let dispatch = self
            .window
            .send_early((&destination?, bytes), &numbers, |lane| {
                store.latest_delivery(lane)
            })?;
        acceptance.reserved = Some(mid);
        for (recipient, (seq, _)) in acceptance.recipients.iter_mut().zip(numbers) {
            if let Plan::Queue { reserved, .. } = &mut recipient.plan {
                *reserved = Some(seq);
            }
        }
        Some(dispatch)
    }

    async fn drain(mut self) -> Result<(), QueueFault> {
        self.offers.close();
        self.show(WorkerState::Draining);
        while let Some(ended) = self.tasks.join_next().await {
            ended.map_err(|fault| QueueFault(fault.to_string()))?;
        }
        Ok(())
    }

    fn show(&self, state: WorkerState) {
        #[cfg(test)]
        {
            let pieces = self.window.pieces() + self.carrier.notices.remembered();
            self.pieces
                .store(pieces, std::sync::atomic::Ordering::Relaxed);
        }
        let (rows, under_way) = self.window.held();
        let state = match state {
            WorkerState::Idle if under_way > 0 => WorkerState::Busy,
            other => other,
        };
        let mut down = self.window.down();
        down.sort_unstable();
        let window = self.carrier.metrics.queue();
        window.window((rows, under_way, down.len()));
        let mut detail = format!("{under_way} under way, {rows} in memory");
        for (name, until) in down.iter().take(SHOWN) {
            detail += &format!("; {name} is down, tried again at {until}");
        }
        if let more @ 1.. = down.len().saturating_sub(SHOWN) {
            detail += &format!("; {more} more are down");
        }
        self.post.show(state, detail);
    }
}

/// The deliveries of a message that is not on disk yet.
fn deliveries(acceptance: &Acceptance, destination: &str) -> Vec<Delivery> {
    let envelope = &acceptance.envelope;
    let stored = Arc::new(StoredMessage {
        mid: acceptance.reserved.unwrap_or_default(),
        message_id: envelope.message_id.clone(),
        sender: envelope.message.sender().key(),
        trust: envelope.trust,
        origin: envelope.origin,
        accepted_at: envelope.received_at,
        notes: envelope.notes(),
        body: envelope.message.raw().clone(),
    });
    acceptance
        .recipients
        .iter()
        .filter_map(|recipient| match &recipient.plan {
            Plan::Queue {
                give_up_at,
                wire,
                reserved,
                ..
            } => Some(Delivery {
                seq: (*reserved)?,
                lane: lane_of(envelope, recipient),
                stored: stored.clone(),
                recipient: recipient.address.clone(),
                destination: destination.to_owned(),
                attempts: 0,
                first_attempt: None,
                give_up_at: *give_up_at,
                wire: wire.clone(),
                renew: false,
                loose: false,
                notified: false,
            }),
            _ => None,
        })
        .collect()
}
