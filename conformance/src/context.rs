//! What a test works with: agents of its own, and words for what it expects.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use hyper::{Method, StatusCode};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::client::{Answer, Call, Client, Offer};
use crate::subject::Subject;

/// Between two looks at a status.
const LOOK: Duration = Duration::from_millis(150);
/// Looks before a status counts as stuck.
const LOOKS: usize = 200;

/// The gateway and a client towards it.
pub(crate) struct Context {
    pub(crate) subject: Subject,
    pub(crate) client: Client,
}

/// An agent made for one test.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    pub(crate) address: String,
    pub(crate) key: String,
}

impl Context {
    pub(crate) fn new(subject: Subject) -> Result<Self> {
        let client = Client::new(&subject, Offer::Http2)?;
        Ok(Self { subject, client })
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
        let call = Call::new(method, format!("{}{path}", self.subject.admin_url))
            .header("x-admin-key", self.subject.admin_key.as_str());
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

    pub(crate) async fn agent(&self) -> Result<Agent> {
        self.agent_with(&Value::Null).await
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

    /// The status as soon as it is as wanted; a fault when it is not within half a minute.
    pub(crate) async fn status_when(
        &self,
        (sender, id): (&Agent, &str),
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let mut ticks = tokio::time::interval(LOOK);
        for _ in 0..LOOKS {
            ticks.tick().await;
            let view = self.status(sender, id).await?;
            if wanted(&view) {
                return Ok(view);
            }
        }
        bail!("still so: {}", self.status(sender, id).await?)
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
