//! A client of A2A, written by hand.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::support::events::Events;
use crate::support::{Agent, Daemon};

/// Turns A2A on.
pub const ON: [(&str, &str); 1] = [("AMTPD__A2A__ORGANIZATION", "Example Ltd.")];

/// Somebody who calls one agent.
#[derive(Clone)]
pub struct Client<'a> {
    pub daemon: &'a Daemon,
    pub base: String,
    pub key: Option<String>,
    pub headers: Vec<(String, String)>,
}

/// An agent that clients may call, with settings of its own.
pub async fn agent(daemon: &Daemon, name: &str, a2a: Value) -> Agent {
    let form = json!({ "address": name, "delivery_mode": "pull", "a2a": a2a });
    let made = daemon.admin(Method::POST, "/v1/admin/agents", Some(form));
    let (status, answer) = made.await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let text = |member: &str| answer["agent"][member].as_str().unwrap().to_owned();
    Agent {
        address: text("address"),
        key: text("api_key"),
    }
}

impl<'a> Client<'a> {
    /// One of 1.0 without a credential.
    pub fn new(daemon: &'a Daemon, name: &str) -> Self {
        Self {
            daemon,
            base: format!("/a2a/{name}"),
            key: None,
            headers: vec![("a2a-version".to_owned(), "1.0".to_owned())],
        }
    }

    pub fn of(mut self, agent: &Agent) -> Self {
        self.key = Some(agent.key.clone());
        self
    }

    /// Another version, or none.
    pub fn speaking(mut self, version: &str) -> Self {
        self.headers.retain(|(name, _)| name != "a2a-version");
        if !version.is_empty() {
            self.headers
                .push(("a2a-version".to_owned(), version.to_owned()));
        }
        self
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn request(&self, method: Method, path: &str, body: &str) -> Request<Full<Bytes>> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("host", "localhost");
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let has_type = self.headers.iter().any(|(name, _)| name == "content-type");
        if !body.is_empty() && !has_type {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request
            .body(Full::new(Bytes::from(body.to_owned())))
            .unwrap()
    }

    /// An answer as it comes.
    pub async fn raw(&self, method: Method, path: &str, body: &str) -> Response<Bytes> {
        let mut request = self.request(method, path, body);
        let port = self.daemon.port();
        let uri = format!("https://localhost:{port}{}", request.uri());
        *request.uri_mut() = uri.parse().unwrap();
        request.headers_mut().remove("host");
        self.daemon.caller().client.send(request).await.unwrap()
    }

    /// Status and JSON of an answer.
    pub async fn json(&self, method: Method, path: &str, body: &str) -> (StatusCode, Value) {
        let answer = self.raw(method, path, body).await;
        let value = serde_json::from_slice(answer.body()).unwrap_or(Value::Null);
        (answer.status(), value)
    }

    /// The whole answer to a call.
    pub async fn call(&self, method: &str, params: &Value) -> Value {
        let body = call(method, params).to_string();
        let (status, answer) = self.json(Method::POST, "", &body).await;
        assert_eq!(status, StatusCode::OK, "{method} {answer}");
        assert_eq!(answer["id"], 7, "{answer}");
        answer
    }

    /// The result of a call.
    pub async fn result(&self, method: &str, params: &Value) -> Value {
        let answer = self.call(method, params).await;
        assert!(answer.get("error").is_none(), "{method} {answer}");
        answer["result"].clone()
    }

    /// The number of the error that a call gets.
    pub async fn error(&self, method: &str, params: &Value) -> i64 {
        let answer = self.call(method, params).await;
        let code = answer["error"]["code"].as_i64();
        code.unwrap_or_else(|| panic!("{method} {params} {answer}"))
    }

    /// The stream that a call opens.
    pub async fn follow(&self, method: &str, params: &Value) -> Result<Events, Value> {
        let body = call(method, params).to_string();
        let request = self.request(Method::POST, "", &body);
        let opened = Events::ask(self.daemon, request).await;
        opened.map_err(|(_, answer)| answer)
    }

    /// A task of which the agent has the message, but nobody waits for it.
    pub async fn begin(&self, text: &str) -> Value {
        let mut params = message(text);
        params["configuration"] = json!({ "returnImmediately": true });
        self.result("SendMessage", &params).await["task"].clone()
    }
}

fn call(method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params })
}

/// The parameters of a message of 1.0.
pub fn message(text: &str) -> Value {
    json!({ "message": { "messageId": "m-1", "role": "ROLE_USER", "parts": [{ "text": text }] } })
}

/// The same for a task.
pub fn message_for(task: &Value, text: &str) -> Value {
    let mut params = message(text);
    params["message"]["taskId"] = task["id"].clone();
    params
}

/// The last mail of an agent, as soon as it has `count`.
pub async fn mail(daemon: &Daemon, agent: &Agent, count: usize) -> Value {
    let soon = std::time::Duration::from_secs(10);
    let mail = crate::support::eventually_so("mail", soon, async || {
        let mail = daemon.inbox(agent).await;
        (mail.len() == count).then_some(mail)
    });
    mail.await.pop().unwrap()
}

/// An agent answers a message of its inbox.
pub async fn answer(
    daemon: &Daemon,
    agent: &Agent,
    asked: &Value,
    more: Value,
) -> (StatusCode, Value) {
    let mut reply = json!({
        "sender": agent.address,
        "recipients": [asked["sender"]],
        "in_reply_to": asked["message_id"],
    });
    for (name, value) in more.as_object().unwrap() {
        reply[name] = value.clone();
    }
    let sent = daemon.call(Method::POST, "/v1/messages", Some(&agent.key), Some(reply));
    sent.await
}

/// The same, which is taken.
pub async fn reply(daemon: &Daemon, agent: &Agent, asked: &Value, more: Value) {
    let (status, taken) = answer(daemon, agent, asked, more).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{taken}");
}
