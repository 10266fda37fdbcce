//! One connection from its first frame to its last.
//!
//! One task holds everything: what comes ([`Source`]), what goes ([`Outbox`]), the session. It waits
//! for whichever is first. Promises:
//!
//! - Frames are taken one after the other; messages go to the intake in their order, and their
//!   receipts are waited for together.
//! - Nothing is read while too much is under way or waits to be written, and no mail is taken out
//!   of the mailbox: who is slow is throttled, and so memory stays bounded.
//! - Who takes nothing for a while, or shows no life for two heartbeats, is given up: its session is
//!   detached, and its mail goes to the next one.

mod parting;

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::task::{JoinError, JoinSet};

use super::acts::{self, Begun, Entered, Peer, Tools, Wish};
use super::close::{self, Close};
use super::deflate::Deflate;
use super::dialogue::{Act, Dialogue, Step};
use super::frames::{Ref, ServerFrame};
use super::outbox::Outbox;
use super::pulse::Pulse;
use super::source::{self, Source};
use super::wire::{self, Decoder, Event};
use crate::endpoint::http::full_message;
use crate::envelope::Principal;
use crate::live::{Pushed, Session};
use crate::store::InboxItem;
use parting::Ending;

/// What somebody unknown may say.
const SMALL: usize = 16 * 1024;
/// So many messages may be on their way to the disk.
const UNDER_WAY: usize = 64;
/// While so much waits to be written nothing is read and nothing pushed.
const FULL: usize = 1024 * 1024;

/// What is being done in its turn.
type InHand = Pin<Box<dyn Future<Output = Done> + Send>>;

enum Done {
    Entered(Box<Result<Entered, Close>>),
    Begun(Begun),
    Said(ServerFrame),
    Subscribed(Result<ServerFrame, ServerFrame>),
    Unsubscribed(Result<Option<ServerFrame>, ServerFrame>),
}

/// What was done beside.
enum Beside {
    Settled(ServerFrame),
    Answered(ServerFrame),
    Marked(Option<ServerFrame>),
}

enum Happened {
    Written(std::io::Result<()>),
    Done(Done),
    Beside(Option<Result<Beside, JoinError>>),
    Pushed(Pushed),
    Came(Result<Event, source::End>),
    Stop,
    Time,
}

/// A connection on which `amtp.v1` is spoken.
pub struct Conversation<S> {
    tools: Tools,
    peer: Peer,
    wish: Wish,
    source: Source<ReadHalf<S>>,
    outbox: Outbox<WriteHalf<S>>,
    dialogue: Dialogue,
    session: Option<Session>,
    in_hand: Option<InHand>,
    beside: JoinSet<Beside>,
    /// Of those beside, how many are on their way to the disk.
    under_way: usize,
    pulse: Pulse,
    opened: Duration,
    stopping: bool,
}

/// How the bytes of a connection are read and written.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    pub(crate) end: wire::End,
    pub(crate) deflate: Option<Deflate>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Conversation<S> {
    /// A conversation with whoever is at the other end; with `known` its session is opened at once.
    pub fn new(
        stream: S,
        manner: Manner,
        (tools, peer): (Tools, Peer),
        (known, wish): (Option<Principal>, Wish),
    ) -> Self {
        let now = tools.clock.monotonic();
        let (reader, writer) = tokio::io::split(stream);
        let decoder = Decoder::new(manner.end, manner.deflate, SMALL);
        let memory = tools.room.memory.clone();
        let heartbeat = tools.live.rules().heartbeat;
        let mut conversation = Self {
            source: Source::new(reader, decoder, (memory, tools.clock.clone())),
            outbox: Outbox::new(writer, manner.end, manner.deflate, tools.clock.clone()),
            dialogue: Dialogue::new(known.is_some()),
            session: None,
            in_hand: None,
            beside: JoinSet::new(),
            under_way: 0,
            pulse: Pulse::new(heartbeat, now),
            opened: now,
            stopping: false,
            tools,
            peer,
            wish,
        };
        if let Some(principal) = known {
            conversation.enter(Ok(principal), None);
        }
        conversation
    }

    /// Speaks until one side ends it; gives the token that resumes its session, if that can be.
    pub async fn run(mut self) -> Option<String> {
        let ending = loop {
            let happened = self.happens().await;
            if let Some(ending) = self.on(happened) {
                break ending;
            }
        };
        self.part(ending).await
    }

    async fn happens(&mut self) -> Happened {
        let clock = self.tools.clock.clone();
        let wait = self.due().saturating_sub(clock.monotonic());
        let room = self.outbox.waiting() < FULL && !self.stopping;
        let listens = room && self.in_hand.is_none() && self.under_way < UNDER_WAY;
        if !listens {
            self.pulse.heard(clock.monotonic());
        }
        let in_hand = self.in_hand.as_mut();
        let session = self.session.as_mut();
        tokio::select! {
            written = self.outbox.drain(), if !self.outbox.is_empty() => Happened::Written(written),
            done = some(in_hand), if in_hand.is_some() => Happened::Done(done),
            done = self.beside.join_next(), if !self.beside.is_empty() => Happened::Beside(done),
            pushed = next(session), if room && session.is_some() => Happened::Pushed(pushed),
            came = self.source.next(), if listens => Happened::Came(came),
            () = self.tools.draining.cancelled(), if !self.stopping => Happened::Stop,
            () = clock.wait(wait) => Happened::Time,
        }
    }

    fn on(&mut self, happened: Happened) -> Option<Ending> {
        match happened {
            Happened::Written(Ok(())) | Happened::Beside(None) => {}
            Happened::Written(Err(_)) => return Some(Ending::gone()),
            Happened::Done(done) => {
                self.in_hand = None;
                if let Err(close) = self.done(done) {
                    return Some(Ending::with(close));
                }
            }
            Happened::Beside(Some(Ok(beside))) => self.beside(beside),
            Happened::Beside(Some(Err(_))) => {
                return Some(Ending::with(Close::of(close::INTERNAL, "")));
            }
            Happened::Pushed(Pushed::Mail(items)) => self.push(items),
            Happened::Pushed(Pushed::Closed(reason)) => {
                return Some(Ending {
                    resumable: false,
                    ..Ending::with(Close::of(close::ENDED, reason))
                });
            }
            Happened::Came(came) => return self.came(came),
            Happened::Stop => self.stopping = true,
            Happened::Time => return self.time(),
        }
        let idle = self.in_hand.is_none() && self.beside.is_empty();
        let stopped = self.stopping && idle;
        stopped.then(|| Ending::with(Close::of(close::GOING_AWAY, "the gateway stops")))
    }

    fn came(&mut self, came: Result<Event, source::End>) -> Option<Ending> {
        let now = self.tools.clock.monotonic();
        self.pulse.heard(now);
        if let Some(session) = &self.session {
            session.heard();
        }
        match came {
            Ok(Event::Text(text)) => self.take(&text).err().map(Ending::with),
            Ok(Event::Ping(_)) if self.pulse.is_one_too_many() => {
                Some(Ending::with(Close::of(close::POLICY, "too many pings")))
            }
            Ok(Event::Ping(payload)) => {
                self.outbox.pong(payload);
                None
            }
            Ok(Event::Pong) => None,
            Ok(Event::Closed(close)) => Some(Ending {
                resumable: close.code != Some(1000),
                ..Ending::with(close)
            }),
            Err(source::End::Close(close)) => Some(Ending::with(close)),
            Err(source::End::Gone) => Some(Ending::gone()),
        }
    }

    fn take(&mut self, text: &Bytes) -> Result<(), Close> {
        match self.dialogue.take(text) {
            Step::Enter(auth, reference) => {
                let wish = &mut self.wish;
                wish.credit = auth.credit.or(wish.credit);
                wish.resume = auth.resume.or_else(|| wish.resume.take());
                wish.inbox = auth.inbox.or_else(|| wish.inbox.take());
                self.enter(Err(auth.token), reference);
                Ok(())
            }
            Step::Act(act, reference) => {
                self.act(act, reference);
                Ok(())
            }
            Step::Answer(frame) => {
                self.say(&frame);
                Ok(())
            }
            Step::Close(close) => Err(close),
        }
    }

    /// Begins to open the session of one who is known, or of one who showed this token.
    fn enter(&mut self, who: Result<Principal, String>, reference: Ref) {
        let (tools, peer) = (self.tools.clone(), self.peer.clone());
        let wish = std::mem::take(&mut self.wish);
        self.hold(async move {
            let principal = match who {
                Ok(principal) => Ok(principal),
                Err(token) => tools.principal(&token, &peer).await,
            };
            Done::Entered(Box::new(match principal {
                Ok(principal) => tools.enter(principal, (wish, peer), reference).await,
                Err(close) => Err(close),
            }))
        });
    }

    fn act(&mut self, act: Act, reference: Ref) {
        let (Some(session), Some(principal)) = (&mut self.session, self.dialogue.principal())
        else {
            return;
        };
        let (tools, who) = (self.tools.clone(), (principal.clone(), self.peer.clone()));
        match act {
            Act::Send(raw) => self.begin((raw, reference), None),
            Act::Request {
                raw,
                wait,
                acknowledge,
            } => self.begin((raw, reference), Some((wait, acknowledge))),
            Act::Acknowledge(ids) => {
                let texts = acts::texts(&ids);
                let done = session.acknowledge(ids);
                self.mark(async move { acts::marked(&texts, done.await, reference) });
            }
            Act::PutBack(ids, delay) => {
                let texts = acts::texts(&ids);
                let done = session.put_back(ids, delay);
                self.mark(async move { acts::marked(&texts, done.await, reference) });
            }
            Act::Grant(credit) => {
                session.grant(credit);
                if let Some(reference) = reference {
                    self.say(&ServerFrame::Done { reference });
                }
            }
            Act::Presence(addresses) => self.hold(async move {
                Done::Said(tools.presence(&who.0, (addresses, reference)).await)
            }),
            Act::Subscribe(asked) => {
                let session = session.number();
                self.hold(async move {
                    let done = tools.subscribe((who.0, session), (asked, reference)).await;
                    Done::Subscribed(done)
                });
            }
            Act::Unsubscribe(topic, one) => self.hold(async move {
                Done::Unsubscribed(tools.unsubscribe(who.0, (topic, one), reference).await)
            }),
            Act::Publish {
                topic,
                raw,
                expected_version,
            } => self.hold(async move {
                let how = (expected_version, reference);
                Done::Said(tools.publish(who, (topic, raw), how).await)
            }),
            Act::Broadcast(raw, audience) => self.hold(async move {
                Done::Said(tools.broadcast(who, (raw, audience), reference).await)
            }),
        }
    }

    fn hold(&mut self, work: impl Future<Output = Done> + Send + 'static) {
        self.in_hand = Some(Box::pin(work));
    }

    fn begin(&mut self, (raw, reference): (Bytes, Ref), wait: Option<(Duration, bool)>) {
        let Some(principal) = self.dialogue.principal() else {
            return;
        };
        let (tools, who) = (self.tools.clone(), (principal.clone(), self.peer.clone()));
        self.hold(async move { Done::Begun(tools.begin(who, (raw, reference), wait).await) });
    }

    fn mark(&mut self, work: impl Future<Output = Option<ServerFrame>> + Send + 'static) {
        self.under_way += 1;
        self.beside.spawn(async move { Beside::Marked(work.await) });
    }

    fn done(&mut self, done: Done) -> Result<(), Close> {
        match done {
            Done::Entered(entered) => {
                let entered = (*entered)?;
                self.source.decoder().allow(self.tools.largest());
                self.dialogue.entered(entered.principal);
                self.session = Some(entered.session);
                for frame in &entered.frames {
                    self.say(frame);
                }
            }
            Done::Begun(begun) => {
                let tools = self.tools.clone();
                let waits = begun.wait.is_some();
                self.under_way += usize::from(!waits);
                self.beside.spawn(async move {
                    let frame = tools.settle(begun).await;
                    match waits {
                        true => Beside::Answered(frame),
                        false => Beside::Settled(frame),
                    }
                });
            }
            Done::Said(frame) | Done::Subscribed(Ok(frame)) | Done::Unsubscribed(Err(frame)) => {
                self.say(&frame);
            }
            Done::Subscribed(Err(frame)) => {
                self.dialogue.unsubscribed();
                self.say(&frame);
            }
            Done::Unsubscribed(Ok(frame)) => {
                self.dialogue.unsubscribed();
                if let Some(frame) = frame {
                    self.say(&frame);
                }
            }
        }
        Ok(())
    }

    fn beside(&mut self, beside: Beside) {
        match beside {
            Beside::Settled(frame) => {
                self.under_way -= 1;
                self.say(&frame);
            }
            Beside::Marked(frame) => {
                self.under_way -= 1;
                if let Some(frame) = frame {
                    self.say(&frame);
                }
            }
            Beside::Answered(frame) => {
                self.dialogue.answered();
                self.say(&frame);
            }
        }
    }

    fn push(&mut self, items: Vec<InboxItem>) {
        for item in items {
            match full_message(&item.message, &[]) {
                Ok(message) => self.say(&ServerFrame::Message {
                    redelivered: item.read,
                    message,
                }),
                Err(error) => {
                    tracing::error!(error = ?error, message.number = item.message.mid,
                        "a message could not be shown");
                }
            }
        }
    }

    fn say(&mut self, frame: &ServerFrame) {
        match serde_json::to_string(frame) {
            Ok(text) => self.outbox.text(text),
            Err(error) => tracing::error!(%error, "a frame could not be written"),
        }
    }
}

async fn some(in_hand: Option<&mut InHand>) -> Done {
    match in_hand {
        Some(in_hand) => in_hand.await,
        None => std::future::pending().await,
    }
}

async fn next(session: Option<&mut Session>) -> Pushed {
    match session {
        Some(session) => session.next().await,
        None => std::future::pending().await,
    }
}
