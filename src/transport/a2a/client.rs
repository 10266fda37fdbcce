//! The client that A2A agents of others are asked with.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::HeaderMap;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::card::Interface;
use super::cards::{Cards, Target, is_at};
use super::request::{Problem, Question, read_answer, write};
use crate::clock::Clock;
use crate::net::{AnswerLimits, GuardedClient};
use crate::protocol::Timestamp;
use crate::store::{Agent, DeliveryMode, Sealer};
use crate::task::Task;
use crate::task::outward::Heard;
use crate::transport::webhook::own_headers;

/// How agents are asked.
#[derive(Debug, Clone)]
pub struct A2aOptions {
    /// Where they may call back, without a slash at its end; nothing where they are not to.
    pub callback: Option<String>,
    /// How long one request may take.
    pub time: Duration,
    /// How much one answer may hold, in bytes.
    pub size: usize,
    /// When a task is looked at first.
    pub first_look: Duration,
    /// How long a task may take.
    pub task_time: Duration,
}

/// Asks A2A agents of others. Cloning is cheap.
#[derive(Clone)]
pub struct A2aClient {
    client: GuardedClient,
    cards: Cards,
    sealer: Option<Sealer>,
    clock: Clock,
    options: Arc<A2aOptions>,
}

/// Where an agent calls back.
pub(super) struct Callback {
    pub(super) url: String,
    /// SHA-256 of what is secret in it.
    pub(super) hash: Vec<u8>,
}

impl A2aClient {
    /// A client that opens what is sealed with `sealer`.
    #[must_use]
    pub fn new(
        client: GuardedClient,
        sealer: Option<Sealer>,
        options: A2aOptions,
        clock: Clock,
    ) -> Self {
        Self {
            cards: Cards::new(client.clone(), clock.clone()),
            client,
            sealer,
            clock,
            options: Arc::new(options),
        }
    }

    /// How a task of an agent is, of an agent that was asked at this place.
    ///
    /// # Errors
    /// [`Problem`]: it could not be found out.
    pub async fn look(&self, agent: &Agent, place: &[u8], task: &str) -> Result<Task, Problem> {
        let place = self::place(place)?;
        let headers = self.headers(agent, &place)?;
        match self.ask(&place, Question::Look(task), headers).await?.0 {
            Heard::Task(task) => Ok(*task),
            Heard::Message(_) => Err(Problem::Garbage("a message".to_owned())),
        }
    }

    /// How long one look may take.
    #[must_use]
    pub fn longest(&self) -> std::time::Duration {
        self.options.time
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn options(&self) -> &A2aOptions {
        &self.options
    }

    /// Where an agent is asked, with what is shown there.
    pub(super) async fn interface(
        &self,
        agent: &Agent,
    ) -> Result<(Arc<Interface>, HeaderMap), Problem> {
        let headers = self.own_headers(agent)?;
        let target = Target {
            url: target(agent),
            headers: &headers,
        };
        let found = self.cards.find(&target).await;
        let interface = found.map_err(|problem| match problem {
            Problem::Status(..) => {
                Problem::Unready(format!("the agent card cannot be had: {problem}"))
            }
            other => other,
        })?;
        Ok((interface, headers))
    }

    /// The card of an agent seems to be wrong.
    pub(super) fn forget_card(&self, agent: &Agent) {
        if let Ok(headers) = self.own_headers(agent) {
            self.cards.forget(&Target {
                url: target(agent),
                headers: &headers,
            });
        }
    }

    /// What is shown at a place where an agent was asked before: nothing, where that is not its
    /// target's host any more.
    pub(super) fn headers(&self, agent: &Agent, place: &Interface) -> Result<HeaderMap, Problem> {
        let is_there =
            agent.settings.delivery_mode == DeliveryMode::A2a && is_at(target(agent), &place.url);
        match is_there {
            true => self.own_headers(agent),
            false => Ok(HeaderMap::new()),
        }
    }

    fn own_headers(&self, agent: &Agent) -> Result<HeaderMap, Problem> {
        let unready = |text: &str| Problem::Unready(text.to_owned());
        if agent.sealed_headers.is_none() {
            return Ok(HeaderMap::new());
        }
        let sealer = self.sealer.as_ref();
        let sealer = sealer.ok_or_else(|| {
            unready("its headers are sealed with the key of `secrets.key_file`, which is not set")
        })?;
        own_headers(agent, sealer).map_err(unready)
    }

    /// A place where the agent of an interface may call back, if it does that.
    pub(super) fn callback(&self, interface: &Interface) -> Result<Option<Callback>, Problem> {
        let Some(base) = self
            .options
            .callback
            .as_ref()
            .filter(|_| interface.calls_back)
        else {
            return Ok(None);
        };
        let mut token = [0; 32];
        let filled = SystemRandom::new().fill(&mut token);
        filled.map_err(|_| Problem::Unready("the system gives no randomness".to_owned()))?;
        let token = URL_SAFE_NO_PAD.encode(token);
        Ok(Some(Callback {
            url: format!("{base}/a2a-callback/{token}"),
            hash: digest(&SHA256, token.as_bytes()).as_ref().to_vec(),
        }))
    }

    /// Asks, and reads the answer; with the address that was asked.
    pub(super) async fn ask(
        &self,
        place: &Interface,
        question: Question<'_>,
        headers: HeaderMap,
    ) -> Result<(Heard, Option<String>), Problem> {
        let request = write(place, question, headers)?;
        let limits = AnswerLimits {
            size: self.options.size,
            time: self.options.time,
        };
        let answer = self.client.send(request, limits).await;
        let answer = answer.map_err(Problem::Net)?;
        let heard = read_answer(place.binding, question, &answer, self.clock.now())?;
        Ok((heard, answer.remote.map(|remote| remote.to_string())))
    }
}

/// A place as it was stored.
pub(super) fn place(stored: &[u8]) -> Result<Interface, Problem> {
    let read = serde_json::from_slice(stored);
    read.map_err(|fault| {
        Problem::Unready(format!("where the agent was asked is not known: {fault}"))
    })
}

fn target(agent: &Agent) -> &str {
    agent.settings.push_target.as_deref().unwrap_or_default()
}
