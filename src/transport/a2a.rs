//! To A2A agents of others: the gateway asks them as an A2A client.
//!
//! - A delivery is done once the agent has taken the message: its task is noted in the store before
//!   that, and a delivery that finds its task noted asks nothing again. What comes of the task is for
//!   who follows it: see `queue`.
//! - A message in reply to an answer goes on with its task where that is open, else with its
//!   conversation; only for the same sender, or the same conversation of an A2A client of ours.
//! - No redirect is followed. Every answer is bounded in size and time. What the operator lets be
//!   shown to the agent goes to the host of its target only.
//! - What is told of a failure names neither the target nor its address: the sender may read it.

mod card;
mod cards;
mod client;
mod judgement;
mod old;
mod request;

use super::behind::Behind;
use super::text::trouble;
use super::{Attempted, Copy, Fault, Outcome, Parcel, webhook};
use crate::envelope::Origin;
use crate::protocol::{Address, ErrorCode, Message as Mail};
use crate::store::{Agent, Call, CallAnswer, Follower, NewCall, Store, StoreError};
use crate::task::change::bytes;
use crate::task::outward::{Asked, Heard, said};
use crate::task::{Message, StreamResponse, Task};
use card::Interface;
use judgement::{attempted, judge};
use request::{NO_PUSH, Question, UNSUPPORTED};

pub use client::{A2aClient, A2aOptions};
pub use request::{Problem, TASK_NOT_FOUND};

/// Carries to A2A agents of others. Cloning is cheap.
#[derive(Clone)]
pub struct A2aTransport {
    store: Store,
    client: A2aClient,
}

/// Why an attempt ended.
enum Stop {
    Problem(Problem),
    Store(StoreError),
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A message on its way to an agent.
struct Errand<'a> {
    agent: &'a Agent,
    parcel: &'a Parcel,
    recipient: &'a Address,
    /// The conversation of an A2A client of ours, by whose it is.
    conversation: Option<String>,
    /// The call that it goes on with, and whether it names one of its messages.
    before: Option<(Call, Named)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    Yes,
    No,
}

impl A2aTransport {
    /// A transport that asks with this client.
    #[must_use]
    pub const fn new(store: Store, client: A2aClient) -> Self {
        Self { store, client }
    }

    /// Tries to deliver parcels, in their order.
    pub(super) async fn carry_all(&self, agent: &Agent, parcels: &[Parcel]) -> Vec<Vec<Attempted>> {
        let mut behind = Behind::default();
        let mut carried = Vec::with_capacity(parcels.len());
        for parcel in parcels {
            let mut attempts = Vec::with_capacity(parcel.copies.len());
            for copy in &parcel.copies {
                let made = match behind.what(parcel, copy) {
                    Some(outcome) => attempted(outcome, None),
                    None => self.deliver(agent, parcel, copy).await,
                };
                behind.note(parcel, copy, &made.outcome);
                attempts.push(made);
            }
            carried.push(attempts);
        }
        carried
    }

    async fn deliver(&self, agent: &Agent, parcel: &Parcel, copy: &Copy) -> Attempted {
        match self.call(agent, parcel, &copy.recipient).await {
            Ok(remote) => attempted(Outcome::Delivered { reply: None }, remote),
            Err(Stop::Problem(problem)) => {
                tracing::info!(
                    agent.address = %agent.address,
                    message.id = parcel.stored.message_id.as_str(),
                    error = %problem,
                    "an A2A agent did not take a message"
                );
                attempted(judge(&problem, copy.attempts), None)
            }
            Err(Stop::Store(error)) => {
                tracing::error!(%error, "a message to an A2A agent waits for the database");
                let words = "this gateway's own database fails at present";
                let code = ErrorCode::TemporaryFailure;
                let deferred = Outcome::Deferred(trouble(code, Fault::Message, words));
                attempted(deferred, None)
            }
        }
    }

    /// Asks what is to be asked; answers the address that was asked.
    async fn call(
        &self,
        agent: &Agent,
        parcel: &Parcel,
        recipient: &Address,
    ) -> Result<Option<String>, Stop> {
        let (stored, message) = (&parcel.stored, &parcel.message);
        // A notice that its answer did not arrive is nothing to an agent that knows no mail.
        if message.is_bounce() {
            return Ok(None);
        }
        let known = self.store.find_call(stored.mid, recipient.as_str()).await?;
        if known.is_some() {
            return Ok(None);
        }
        let conversation = self.conversation(parcel).await?;
        let before = self.before(agent, parcel, conversation.as_deref()).await?;
        let errand = Errand {
            agent,
            parcel,
            recipient,
            conversation,
            before,
        };
        match is_cancel(message) {
            true => self.cancel(&errand).await,
            false => self.send(&errand).await,
        }
    }

    /// Whose conversation it is, where an A2A client of ours says so.
    async fn conversation(&self, parcel: &Parcel) -> Result<Option<String>, Stop> {
        if parcel.stored.origin != Origin::A2a {
            return Ok(None);
        }
        let id = &parcel.stored.message_id;
        let task = self.store.find_task_of_message(id).await?;
        Ok(task.map(|row| format!("{}\n{}", row.owner, row.context)))
    }

    async fn before(
        &self,
        agent: &Agent,
        parcel: &Parcel,
        conversation: Option<&str>,
    ) -> Result<Option<(Call, Named)>, Stop> {
        let who = Follower {
            agent: agent.id,
            sender: &parcel.stored.sender,
            conversation,
        };
        if let Some(id) = parcel.message.in_reply_to()
            && let Some(call) = self.store.find_call_of(id, who).await?
        {
            return Ok(Some((call, Named::Yes)));
        }
        let Some(conversation) = conversation else {
            return Ok(None);
        };
        let last = self.store.last_call_in(agent.id, conversation).await?;
        Ok(last.map(|call| (call, Named::No)))
    }

    /// Asks the agent to stop with what was asked before. That it does not, changes nothing.
    async fn cancel(&self, errand: &Errand<'_>) -> Result<Option<String>, Stop> {
        let Some((call, Named::Yes)) = &errand.before else {
            return Ok(None);
        };
        if call.ended || call.task.is_empty() {
            return Ok(None);
        }
        let place = client::place(&call.place)?;
        let headers = self.client.headers(errand.agent, &place)?;
        let question = Question::Cancel(&call.task);
        let asked = self.client.ask(&place, question, headers).await;
        let remote = match asked {
            Ok((_, remote)) => remote,
            Err(Problem::Error(..)) => None,
            Err(problem) => return Err(problem.into()),
        };
        let answer = CallAnswer {
            call: call.id.clone(),
            before: call.told.clone(),
            told: "canceled".to_owned(),
            message: None,
            due_at: None,
            now: self.client.now(),
        };
        self.store.answer_call(answer, None).await?;
        Ok(remote)
    }

    async fn send(&self, errand: &Errand<'_>) -> Result<Option<String>, Stop> {
        let (interface, headers) = self.client.interface(errand.agent).await?;
        let callback = self.client.callback(&interface)?;
        let id = &errand.parcel.stored.message_id;
        let (message, modes) = said(&errand.parcel.message, (id, errand.recipient));
        let mut message = errand.placed(message);
        let mut url = callback.as_ref().map(|it| it.url.as_str());
        loop {
            let question = Question::Send {
                message: &message,
                modes: &modes,
                callback: url,
            };
            match self.client.ask(&interface, question, headers.clone()).await {
                Ok((heard, remote)) => {
                    let token = url.and(callback.as_ref()).map(|it| it.hash.clone());
                    self.note(errand, (&interface, heard), token).await?;
                    return Ok(remote);
                }
                // The task has ended, or is forgotten: the conversation goes on with a new one.
                Err(Problem::Error(TASK_NOT_FOUND | UNSUPPORTED, _))
                    if message.task_id.is_some() =>
                {
                    message.reference_task_ids = message.task_id.take().into_iter().collect();
                }
                Err(Problem::Error(NO_PUSH | UNSUPPORTED, _)) if url.is_some() => url = None,
                Err(problem) => {
                    if problem.is_of_place() {
                        self.client.forget_card(errand.agent);
                    }
                    return Err(problem.into());
                }
            }
        }
    }

    /// Notes what came of it; who follows calls goes on from there.
    async fn note(
        &self,
        errand: &Errand<'_>,
        (interface, heard): (&Interface, Heard),
        token: Option<Vec<u8>>,
    ) -> Result<(), Stop> {
        let (stored, message) = (&errand.parcel.stored, &errand.parcel.message);
        let now = self.client.now();
        let (task, context, is_news) = match &heard {
            Heard::Task(it) => {
                let state = it.status.state;
                let is_news = state.is_terminal() || state.is_interrupted();
                (it.id.clone(), it.context_id.clone(), is_news)
            }
            Heard::Message(it) => {
                let context = it.context_id.clone().unwrap_or_default();
                (String::new(), context, true)
            }
        };
        let is_answered = webhook::may_reply(errand.agent.settings.replies, stored, message);
        let first = match is_news {
            true => now,
            false => now.plus(self.client.options().first_look),
        };
        let asked = Asked::of(
            message,
            (&stored.message_id, errand.recipient),
            &stored.notes.request_id,
        );
        let call = NewCall {
            agent: errand.agent.id,
            delivery: (stored.mid, errand.recipient.to_string()),
            message: stored.message_id.clone(),
            sender: stored.sender.clone(),
            conversation: errand.conversation.clone(),
            place: bytes(interface),
            asked: bytes(&asked),
            heard: (is_news && is_answered).then(|| bytes(&response(heard))),
            task,
            context,
            token: token.filter(|_| is_answered),
            due_at: is_answered.then_some(first),
            give_up_at: now.plus(self.client.options().task_time),
            now,
        };
        Ok(self.store.note_call(call).await?)
    }
}

impl Errand<'_> {
    /// The message with the task and the conversation it goes on with.
    fn placed(&self, mut message: Message) -> Message {
        let Some((call, named)) = &self.before else {
            return message;
        };
        let some = |id: &String| (!id.is_empty()).then(|| id.clone());
        message.context_id = some(&call.context);
        if *named == Named::Yes {
            match call.ended {
                false => message.task_id = some(&call.task),
                true => message.reference_task_ids.extend(some(&call.task)),
            }
        }
        message
    }
}

/// As it is stored.
fn response(heard: Heard) -> StreamResponse {
    match heard {
        Heard::Task(task) => StreamResponse::Task(Task {
            history: Vec::new(),
            ..*task
        }),
        Heard::Message(message) => StreamResponse::Message(*message),
    }
}

fn is_cancel(message: &Mail) -> bool {
    message.header("a2a-kind") == Some("\"cancel\"")
}
