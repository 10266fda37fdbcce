//! An A2A agent of somebody else: three ways of being asked, tasks that end when a test says so.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::background::lock;
use super::server::Seen;

/// How it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// JSON-RPC of A2A 1.0.
    Rpc,
    /// HTTP+JSON of A2A 1.0.
    Rest,
    /// JSON-RPC of A2A 0.3.
    Old,
}

/// What it does with a message.
#[derive(Debug, Clone)]
pub enum Reaction {
    /// It works on it.
    Work,
    /// It is done at once, with these parts.
    Done(Value),
    /// It asks something.
    Ask(&'static str),
    /// It says something and makes no task of it.
    Say(&'static str),
    /// It answers with this error.
    Error(i64),
}

/// A message as it was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    pub message: Value,
    pub configuration: Value,
    pub version: String,
    pub authorization: String,
}

impl Asked {
    /// Where it may call back.
    pub fn callback(&self) -> Option<String> {
        let new = &self.configuration["taskPushNotificationConfig"]["url"];
        let old = &self.configuration["pushNotificationConfig"]["url"];
        new.as_str().or(old.as_str()).map(str::to_owned)
    }

    /// Its first text.
    pub fn text(&self) -> &str {
        self.message["parts"][0]["text"]
            .as_str()
            .unwrap_or_default()
    }
}

#[derive(Debug, Clone)]
struct Job {
    context: String,
    state: &'static str,
    said: Option<String>,
    parts: Option<Value>,
}

/// The agent. Clones share what they hold.
#[derive(Debug, Clone)]
pub struct A2aAgent(Arc<Mutex<Table>>);

#[derive(Debug)]
struct Table {
    way: Way,
    pushes: bool,
    /// Where its card says it is, beside its own place.
    elsewhere: Option<String>,
    tasks: HashMap<String, Job>,
    reactions: VecDeque<Reaction>,
    asked: Vec<Asked>,
    looks: usize,
    cards: usize,
    canceled: Vec<String>,
    /// It answers with another task than the one that is asked for.
    lies: bool,
}

impl A2aAgent {
    pub fn new(way: Way) -> Self {
        Self(Arc::new(Mutex::new(Table {
            way,
            pushes: false,
            elsewhere: None,
            tasks: HashMap::new(),
            reactions: VecDeque::new(),
            asked: Vec::new(),
            looks: 0,
            cards: 0,
            canceled: Vec::new(),
            lies: false,
        })))
    }

    /// It says that it calls back.
    pub fn calling_back(self) -> Self {
        lock(&self.0).pushes = true;
        self
    }

    pub fn lying(self) -> Self {
        lock(&self.0).lies = true;
        self
    }

    /// Its card leads there.
    pub fn at(self, url: &str) -> Self {
        lock(&self.0).elsewhere = Some(url.to_owned());
        self
    }

    /// What it does with the next message that has no step yet; it works on what has none.
    pub fn react(&self, reaction: Reaction) {
        lock(&self.0).reactions.push_back(reaction);
    }

    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.0).asked.clone()
    }

    pub fn looks(&self) -> usize {
        lock(&self.0).looks
    }

    pub fn cards(&self) -> usize {
        lock(&self.0).cards
    }

    pub fn canceled(&self) -> Vec<String> {
        lock(&self.0).canceled.clone()
    }

    /// Lets a task of this number, from 1, come to a state (a word of 0.3), with parts of a result.
    pub fn end(&self, task: usize, state: &'static str, parts: Option<Value>) {
        let mut table = lock(&self.0);
        let job = table.tasks.get_mut(&format!("task-{task}")).unwrap();
        job.state = state;
        job.parts = parts;
    }

    pub fn forget(&self) {
        lock(&self.0).tasks.clear();
    }

    /// What it answers: status, body.
    pub fn answer(&self, seen: &Seen) -> (u16, Value) {
        let mut table = lock(&self.0);
        if seen.path.ends_with("/.well-known/agent-card.json") {
            table.cards += 1;
            return match table.way {
                Way::Old => (404, json!({})),
                _ => (200, table.card(seen)),
            };
        }
        if seen.path.ends_with("/.well-known/agent.json") {
            return (200, table.old_card(seen));
        }
        table.operate(seen)
    }
}

impl Table {
    fn place(&self, seen: &Seen) -> String {
        let own = || format!("http://{}/rpc", seen.header("host"));
        self.elsewhere.clone().unwrap_or_else(own)
    }

    fn card(&self, seen: &Seen) -> Value {
        let binding = match self.way {
            Way::Rest => "HTTP+JSON",
            _ => "JSONRPC",
        };
        json!({
            "name": "other", "description": "", "version": "1",
            "supportedInterfaces": [
                {"url": "http://127.0.0.1:1/", "protocolBinding": "GRPC", "protocolVersion": "1.0"},
                {"url": self.place(seen), "protocolBinding": binding, "protocolVersion": "1.0", "tenant": "t/1"}],
            "capabilities": {"pushNotifications": self.pushes, "streaming": false},
            "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"], "skills": [],
        })
    }

    fn old_card(&self, seen: &Seen) -> Value {
        json!({
            "name": "other", "description": "", "version": "1", "protocolVersion": "0.3.0",
            "url": self.place(seen), "preferredTransport": "JSONRPC",
            "capabilities": {"pushNotifications": self.pushes},
            "defaultInputModes": [], "defaultOutputModes": [], "skills": [],
        })
    }

    fn operate(&mut self, seen: &Seen) -> (u16, Value) {
        let done = match self.way {
            Way::Rest => self.rest(seen),
            Way::Rpc | Way::Old => self.rpc(seen),
        };
        let id = &seen.json["id"];
        match (self.way, done) {
            (Way::Rest, Ok(value)) => (200, value),
            (Way::Rest, Err(code)) => (400, refusal(code)),
            (_, Ok(value)) => (200, json!({"jsonrpc": "2.0", "id": id, "result": value})),
            (_, Err(code)) => {
                let error = json!({"code": code, "message": "scripted\nin two lines"});
                (200, json!({"jsonrpc": "2.0", "id": id, "error": error}))
            }
        }
    }

    fn rpc(&mut self, seen: &Seen) -> Result<Value, i64> {
        let params = &seen.json["params"];
        let id = params["id"].as_str().unwrap_or_default();
        let old = self.way == Way::Old;
        match (seen.json["method"].as_str().unwrap_or_default(), old) {
            ("SendMessage", false) | ("message/send", true) => self.send(seen, params),
            ("GetTask", false) | ("tasks/get", true) => self.look(id),
            ("CancelTask", false) | ("tasks/cancel", true) => self.cancel(id),
            _ => Err(-32601),
        }
    }

    fn rest(&mut self, seen: &Seen) -> Result<Value, i64> {
        // The tenant stands in the path.
        let path = seen.path.strip_prefix("/rpc/t%2F1").ok_or(-32602)?;
        if path == "/message:send" {
            return self.send(seen, &seen.json);
        }
        let task = path.strip_prefix("/tasks/").ok_or(-32601)?;
        match task.split_once(':') {
            Some((id, _)) => self.cancel(id),
            None => self.look(task.split('?').next().unwrap_or_default()),
        }
    }

    fn send(&mut self, seen: &Seen, params: &Value) -> Result<Value, i64> {
        let message = params["message"].clone();
        self.asked.push(Asked {
            message: message.clone(),
            configuration: params["configuration"].clone(),
            version: seen.header("a2a-version").to_owned(),
            authorization: seen.header("authorization").to_owned(),
        });
        let reaction = self.reactions.pop_front().unwrap_or(Reaction::Work);
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let context = text(&message["contextId"]).unwrap_or_else(|| "context-1".to_owned());
        let (state, said, parts) = match reaction {
            Reaction::Error(code) => return Err(code),
            Reaction::Say(words) => return Ok(self.say(words, &context)),
            Reaction::Work => ("working", None, None),
            Reaction::Done(parts) => ("completed", None, Some(parts)),
            Reaction::Ask(words) => ("input-required", Some(words.to_owned()), None),
        };
        let id = match text(&message["taskId"]) {
            Some(id) => {
                let job = self.tasks.get(&id).ok_or(-32001)?;
                match job.state {
                    "working" | "input-required" => id,
                    _ => return Err(-32004),
                }
            }
            None => format!("task-{}", self.tasks.len() + 1),
        };
        self.tasks.insert(
            id.clone(),
            Job {
                context,
                state,
                said,
                parts,
            },
        );
        let task = self.task(&id)?;
        Ok(match self.way {
            Way::Old => task,
            _ => json!({ "task": task }),
        })
    }

    fn say(&self, words: &str, context: &str) -> Value {
        match self.way {
            Way::Old => {
                json!({"kind": "message", "messageId": "s-1", "role": "agent", "contextId": context,
                "parts": [{"kind": "text", "text": words}]})
            }
            _ => json!({"message": {"messageId": "s-1", "role": "ROLE_AGENT", "contextId": context,
                "parts": [{"text": words}]}}),
        }
    }

    fn look(&mut self, id: &str) -> Result<Value, i64> {
        self.looks += 1;
        let mut task = self.task(id)?;
        if self.lies {
            task["id"] = json!("task-of-somebody");
        }
        Ok(task)
    }

    fn cancel(&mut self, id: &str) -> Result<Value, i64> {
        self.canceled.push(id.to_owned());
        self.tasks.get_mut(id).ok_or(-32001)?.state = "canceled";
        self.task(id)
    }

    fn task(&self, id: &str) -> Result<Value, i64> {
        let job = self.tasks.get(id).ok_or(-32001)?;
        let old = self.way == Way::Old;
        let state = match old {
            true => job.state.to_owned(),
            false => format!("TASK_STATE_{}", job.state.to_uppercase().replace('-', "_")),
        };
        let part = |text: &str| match old {
            true => json!({"kind": "text", "text": text}),
            false => json!({ "text": text }),
        };
        let mut status = json!({ "state": state });
        if let Some(said) = &job.said {
            let role = if old { "agent" } else { "ROLE_AGENT" };
            status["message"] =
                json!({"messageId": format!("q-{id}"), "role": role, "parts": [part(said)]});
        }
        let mut task = json!({"id": id, "contextId": job.context, "status": status});
        if old {
            task["kind"] = json!("task");
        }
        if let Some(parts) = &job.parts {
            task["artifacts"] = json!([{"artifactId": "r-1", "parts": parts}]);
        }
        Ok(task)
    }
}

/// An error of HTTP+JSON.
fn refusal(code: i64) -> Value {
    let reason = match code {
        -32001 => "TASK_NOT_FOUND",
        -32004 => "UNSUPPORTED_OPERATION",
        -32602 => "INVALID_PARAMS",
        _ => "INTERNAL_ERROR",
    };
    let details = json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason,
        "domain": "a2a-protocol.org"}]);
    json!({"error": {"code": 400, "status": "FAILED_PRECONDITION", "message": "scripted", "details": details}})
}
