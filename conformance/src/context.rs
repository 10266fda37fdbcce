//! What a test works with: agents of its own, and words for what it expects.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use tokio::time::{Interval, MissedTickBehavior};
use uuid::Uuid;

use crate::bench::{Bench, Peer, Wire};
use crate::client::{Answer, Call, Client, Offer};
use crate::runner::Skipped;
use crate::subject::{Capability, Subject};

/// Between two looks at what changes.
const LOOK: Duration = Duration::from_millis(100);

/// The gateway, a client towards it, and what is around it.
pub(crate) struct Context {
    pub(crate) subject: Subject,
    pub(crate) client: Client,
    bench: Option<Arc<Bench>>,
    /// What goes wrong between the gateway and its peers, while the suite itself is checked.
    wire: Option<Wire>,
    /// The next of the agents that were given.
    next: AtomicUsize,
    /// When the next domain may be brought that the gateway has not heard of, and whether any was.
    names: Option<Mutex<(Interval, bool)>>,
}

/// An agent made for one test, or given by the subject's description.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Agent {
    pub(crate) address: String,
    pub(crate) key: String,
}

impl Context {
    pub(crate) fn new(subject: Subject, bench: Option<Arc<Bench>>) -> Result<Self> {
        let client = Client::new(&subject, Offer::Http2)?;
        let names = subject.new_names_per_second.map(|count| {
            let mut ticks = tokio::time::interval(Duration::from_secs(1) / count.max(1));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            Mutex::new((ticks, false))
        });
        Ok(Self {
            subject,
            client,
            bench,
            wire: None,
            next: AtomicUsize::new(0),
            names,
        })
    }

    /// The same with a fault between the gateway and its peers.
    pub(crate) const fn with_wire(mut self, wire: Option<Wire>) -> Self {
        self.wire = wire;
        self
    }

    /// A test begins: agents that were given are free again.
    pub(crate) fn begin(&self) {
        self.next.store(0, Ordering::Relaxed);
    }

    /// Ends the test where the gateway does not claim this.
    pub(crate) fn needs(&self, capability: Capability) -> Result<()> {
        match self.subject.capabilities.contains(&capability) {
            true => Ok(()),
            false => Err(Skipped(capability.missing()).into()),
        }
    }

    /// What is around the gateway; ends the test where there is nothing.
    pub(crate) fn bench(&self) -> Result<&Bench> {
        let why = Skipped("no bench: the subject's description has none");
        Ok(self.bench.as_deref().ok_or(why)?)
    }

    /// Waits until the gateway looks up another domain that it has not heard of.
    pub(crate) async fn new_name(&self) {
        let Some(names) = &self.names else { return };
        let (ticks, has_begun) = &mut *names.lock().await;
        if !std::mem::replace(has_begun, true) {
            // The first tick comes at once, and another run may have ended just now.
            ticks.tick().await;
        }
        ticks.tick().await;
    }

    /// A domain that writes to the gateway and has none itself.
    pub(crate) async fn stranger(&self) -> Result<String> {
        let domain = self.bench()?.stranger();
        self.new_name().await;
        Ok(domain)
    }

    /// A domain with a gateway that offers nothing special.
    pub(crate) fn peer(&self) -> Result<Peer> {
        self.peer_with("")
    }

    /// The same with features.
    pub(crate) fn peer_with(&self, features: &str) -> Result<Peer> {
        self.needs(Capability::Federation)?;
        Ok(self.bench()?.peer(features, self.wire))
    }

    /// A domain with a gateway that is not published yet.
    pub(crate) fn unpublished(&self) -> Result<Peer> {
        self.needs(Capability::Federation)?;
        Ok(self.bench()?.unpublished(self.wire))
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.subject.url)
    }

    /// A name nobody has.
    pub(crate) fn fresh_name(&self) -> String {
        format!("c-{}", Uuid::new_v4().simple())
    }

    pub(crate) fn domain(&self) -> &str {
        &self.subject.domain
    }

    pub(crate) async fn admin(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer> {
        let no_access = Skipped("no admin access is given");
        let admin = self.subject.admin.as_ref().ok_or(no_access)?;
        let call =
            Call::new(method, format!("{}{path}", admin.url)).header(&admin.header, &admin.key);
        let call = match body {
            Some(body) => call.json(body.to_string()),
            None => call,
        };
        self.client.send(call).await
    }

    /// A fresh agent that polls, with more settings.
    pub(crate) async fn agent_with(&self, more: &Value) -> Result<Agent> {
        let mut form = json!({ "address": self.fresh_name(), "delivery_mode": "pull" });
        merge(&mut form, more);
        let answer = self
            .admin(Method::POST, "/v1/admin/agents", Some(&form))
            .await?;
        ensure!(
            answer.status == StatusCode::CREATED,
            "adding an agent: {}",
            answer.shown()
        );
        let agent = &answer.json()["agent"];
        let text = |name: &str| agent[name].as_str().unwrap_or_default().to_owned();
        Ok(Agent {
            address: text("address"),
            key: text("api_key"),
        })
    }

    /// A fresh agent that has sent and got nothing yet; ends the test where none can be made.
    pub(crate) async fn new_agent(&self) -> Result<Agent> {
        self.agent_with(&Value::Null).await
    }

    /// A fresh agent that polls, or one of those that were given, its inbox emptied.
    pub(crate) async fn agent(&self) -> Result<Agent> {
        if self.subject.admin.is_some() {
            return self.agent_with(&Value::Null).await;
        }
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        let few = Skipped("it needs more agents than were given");
        let agent = self.subject.agents.get(next).cloned().ok_or(few)?;
        self.empty(&agent).await?;
        Ok(agent)
    }

    /// Acknowledges all mail of an agent.
    async fn empty(&self, agent: &Agent) -> Result<()> {
        /// Ids alone: other members may hold numbers that cannot be read.
        #[derive(Deserialize)]
        struct Page {
            messages: Vec<Entry>,
        }
        #[derive(Deserialize)]
        struct Entry {
            message_id: String,
        }
        loop {
            let path = format!("/v1/inbox/{}", agent.address);
            let answer = self.get(Some(&agent.key), &path).await?;
            expect_status(&answer, 200)?;
            let page: Page = serde_json::from_str(&answer.text)?;
            if page.messages.is_empty() {
                return Ok(());
            }
            for Entry { message_id } in page.messages {
                let path = format!("{path}/{message_id}");
                let answer = self.delete(Some(&agent.key), &path).await?;
                // Gone with another one of the same id.
                if answer.status != StatusCode::NOT_FOUND {
                    expect_status(&answer, 200)?;
                }
            }
        }
    }

    /// Posts a body as it is.
    pub(crate) async fn post(
        &self,
        key: Option<&str>,
        body: impl Into<bytes::Bytes>,
    ) -> Result<Answer> {
        let call = Call::new(Method::POST, self.url("/v1/messages")).json(body);
        self.client.send(with_key(call, key)).await
    }

    /// Sends a message between two agents, with members changed; a member set to
    /// [`absent`] is left out.
    pub(crate) async fn send(&self, from: &Agent, to: &Agent, change: &Value) -> Result<Answer> {
        self.post(Some(&from.key), message(from, to, change).to_string())
            .await
    }

    /// Sends a message to these addresses, which must be taken, and gives its id.
    pub(crate) async fn submit(&self, from: &Agent, to: &[&str], change: &Value) -> Result<String> {
        let mut body = message(from, from, change);
        body["recipients"] = json!(to);
        let answer = self.post(Some(&from.key), body.to_string()).await?;
        expect_taken(&answer)?;
        id_of(&answer)
    }

    pub(crate) async fn get(&self, key: Option<&str>, path: &str) -> Result<Answer> {
        self.client
            .send(with_key(Call::new(Method::GET, self.url(path)), key))
            .await
    }

    pub(crate) async fn delete(&self, key: Option<&str>, path: &str) -> Result<Answer> {
        self.client
            .send(with_key(Call::new(Method::DELETE, self.url(path)), key))
            .await
    }

    pub(crate) async fn post_json(&self, key: &str, path: &str, body: &Value) -> Result<Answer> {
        let call = Call::new(Method::POST, self.url(path)).json(body.to_string());
        self.client.send(call.bearer(key)).await
    }

    /// The messages in an agent's inbox.
    pub(crate) async fn inbox(&self, agent: &Agent, query: &str) -> Result<Vec<Value>> {
        let answer = self
            .get(
                Some(&agent.key),
                &format!("/v1/inbox/{}{query}", agent.address),
            )
            .await?;
        ensure!(
            answer.status == StatusCode::OK,
            "reading an inbox: {}",
            answer.shown()
        );
        Ok(answer.json()["messages"]
            .as_array()
            .cloned()
            .unwrap_or_default())
    }

    /// Whether the gateway says of itself that it has this feature.
    pub(crate) async fn offers(&self, feature: &str) -> Result<bool> {
        let path = format!("/v1/capabilities/{}", self.domain());
        let view = self.get(None, &path).await?.json();
        let features = view["features"].as_array();
        Ok(features.is_some_and(|all| all.iter().any(|it| it == feature)))
    }

    /// The status of a message, as its sender sees it.
    pub(crate) async fn status(&self, sender: &Agent, id: &str) -> Result<Value> {
        let path = format!("/v1/messages/{id}/status");
        let answer = self.get(Some(&sender.key), &path).await?;
        expect_status(&answer, 200)?;
        Ok(answer.json())
    }

    /// The status as soon as it is as wanted; a fault when the patience of the run ends first.
    pub(crate) async fn status_when(
        &self,
        (sender, id): (&Agent, &str),
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let seen = self
            .until(|| async { Ok(Some(self.status(sender, id).await?).filter(&wanted)) })
            .await?;
        match seen {
            Some(view) => Ok(view),
            None => bail!("still so: {}", self.status(sender, id).await?),
        }
    }

    /// The status as soon as the whole message is in this state.
    pub(crate) async fn reaches(&self, sender: &Agent, id: &str, status: &str) -> Result<Value> {
        self.status_when((sender, id), |view| view["status"] == status)
            .await
    }

    /// The mail of an agent, as soon as there are so many.
    pub(crate) async fn mail(&self, agent: &Agent, count: usize) -> Result<Vec<Value>> {
        let enough = |mail: &Vec<Value>| mail.len() >= count;
        let seen = self
            .until(|| async { Ok(Some(self.inbox(agent, "").await?).filter(enough)) })
            .await?;
        match seen {
            Some(mail) => Ok(mail),
            None => bail!(
                "{count} messages were awaited: {:?}",
                self.inbox(agent, "").await?
            ),
        }
    }

    /// What a look finds, as soon as it finds something; nothing when the patience of the run ends.
    pub(crate) async fn until<T, F>(&self, look: impl Fn() -> F) -> Result<Option<T>>
    where
        F: Future<Output = Result<Option<T>>>,
    {
        let mut ticks = tokio::time::interval(LOOK);
        let looks = self.subject.patience.as_millis() / LOOK.as_millis();
        for _ in 0..looks {
            ticks.tick().await;
            if let Some(found) = look().await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

fn with_key(call: Call, key: Option<&str>) -> Call {
    match key {
        Some(key) => call.bearer(key),
        None => call,
    }
}

/// Marks a member that is to be left out.
pub(crate) fn absent() -> Value {
    json!({ "conformance": "absent" })
}

/// A message between two agents, with members changed.
pub(crate) fn message(from: &Agent, to: &Agent, change: &Value) -> Value {
    let mut body = json!({
        "version": "1.0",
        "sender": from.address,
        "recipients": [to.address],
        "subject": "conformance",
        "payload": { "n": 1 },
    });
    merge(&mut body, change);
    body
}

fn merge(body: &mut Value, change: &Value) {
    let (Some(members), Some(change)) = (body.as_object_mut(), change.as_object()) else {
        return;
    };
    for (name, value) in change {
        if *value == absent() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
}

/// The id in a receipt.
pub(crate) fn id_of(answer: &Answer) -> Result<String> {
    match answer.json()["message_id"].as_str() {
        Some(id) => Ok(id.to_owned()),
        None => bail!("a receipt without message_id: {}", answer.shown()),
    }
}

/// The answer must have this status.
pub(crate) fn expect_status(answer: &Answer, status: u16) -> Result<()> {
    ensure!(
        answer.status.as_u16() == status,
        "expected {status}, got {}",
        answer.shown()
    );
    Ok(())
}

/// The answer must be an acceptance: 202, or 200 with the receipt of what is delivered already.
pub(crate) fn expect_taken(answer: &Answer) -> Result<()> {
    let status = answer.status.as_u16();
    let has_receipt = status == 200 && answer.json()["message_id"].is_string();
    ensure!(
        status == 202 || has_receipt,
        "expected 202, got {}",
        answer.shown()
    );
    Ok(())
}

/// The answer must be the error body with this status and code.
pub(crate) fn expect_error(answer: &Answer, status: u16, code: &str) -> Result<()> {
    expect_status(answer, status)?;
    ensure!(
        answer.code() == code,
        "expected {code}, got {}",
        answer.shown()
    );
    let error = answer.json()["error"].clone();
    for member in ["message", "timestamp", "request_id"] {
        ensure!(
            error[member].is_string(),
            "the error body lacks {member}: {}",
            answer.shown()
        );
    }
    Ok(())
}

/// One of the field faults must name this field.
pub(crate) fn expect_field(answer: &Answer, field: &str) -> Result<()> {
    let faults = answer.json()["error"]["details"]["validation_errors"].clone();
    let named = faults
        .as_array()
        .into_iter()
        .flatten()
        .any(|fault| fault["field"] == field);
    ensure!(named, "no fault names {field:?}: {}", answer.shown());
    Ok(())
}

/// A JSON object of these members.
pub(crate) fn object(members: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Object(
        members
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect::<Map<_, _>>(),
    )
}
