//! Requests to agents, and what their answers mean. Pure.
//!
//! What is said of an agent's error is its number and not more than a line of its words.

use std::fmt::Write as _;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use serde::Serialize;

use super::card::{Binding, Interface};
use super::old;
use crate::net::{Answer, NetFault};
use crate::protocol::Timestamp;
use crate::protocol::json::string_of;
use crate::task::outward::Heard;
use crate::task::{Json, Message, Object, Place, StreamResponse, read};
use crate::transport::after::retry_after;
use crate::transport::text::clean;

/// The longest id that the other side may give a task or a conversation, in bytes.
const LONGEST_ID: usize = 512;
/// The most that is told of its words, in bytes.
const LONGEST_WORDS: usize = 200;

/// No such task.
pub const TASK_NOT_FOUND: i32 = -32001;
/// No push notifications.
pub(super) const NO_PUSH: i32 = -32003;
/// Not like that: also for a task that has ended.
pub(super) const UNSUPPORTED: i32 = -32004;

/// Why an agent gave no usable answer.
#[derive(Debug)]
pub enum Problem {
    /// It was not asked: what is configured, or its card, does not allow it.
    Unready(String),
    /// It was not reached, or did not answer.
    Net(NetFault),
    /// It answered with this status and nothing that is known.
    Status(StatusCode, Option<std::time::Duration>),
    /// It answered with an error of the protocol.
    Error(i32, String),
    /// What it answered cannot be understood.
    Garbage(String),
}

impl Problem {
    /// Whether there seems to be another agent, or none, where the card says.
    pub(super) fn is_of_place(&self) -> bool {
        match self {
            Self::Error(code, _) => matches!(code, -32601 | -32009),
            Self::Status(status, _) => matches!(status.as_u16(), 404 | 405 | 410),
            Self::Unready(_) | Self::Net(_) | Self::Garbage(_) => false,
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unready(text) => f.write_str(text),
            Self::Net(fault) => write!(f, "{}", super::judgement::unreached(fault)),
            Self::Status(status, _) => {
                let words = status.canonical_reason().unwrap_or_default();
                let text = format!("the agent answered {} {words}", status.as_u16());
                f.write_str(text.trim_end())?;
                match status.is_redirection() {
                    true => f.write_str("; redirects are not followed"),
                    false => Ok(()),
                }
            }
            Self::Error(code, words) => write!(f, "the agent answered with error {code}: {words}"),
            Self::Garbage(text) => write!(f, "the agent's answer cannot be understood: {text}"),
        }
    }
}

/// What is asked of an agent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Question<'a> {
    /// To read a message.
    Send {
        /// With the ids of the task and conversation it belongs to.
        message: &'a Message,
        /// The media types that can be used.
        modes: &'a [String],
        /// Where it may call back.
        callback: Option<&'a str>,
    },
    /// How a task is.
    Look(&'a str),
    /// To stop with a task.
    Cancel(&'a str),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Params<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history_length: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    configuration: Option<Configuration<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Configuration<'a> {
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    accepted_output_modes: &'a [String],
    history_length: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    return_immediately: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_push_notification_config: Option<Callback<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocking: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    push_notification_config: Option<Callback<'a>>,
}

#[derive(Serialize)]
struct Callback<'a> {
    url: &'a str,
}

#[derive(Serialize)]
struct Call<'a> {
    jsonrpc: &'static str,
    id: u32,
    method: &'static str,
    params: &'a Params<'a>,
}

/// The request, with headers of the operator.
pub(super) fn write(
    to: &Interface,
    question: Question<'_>,
    headers: HeaderMap,
) -> Result<Request<Full<Bytes>>, Problem> {
    let params = params(to, question);
    let (method, url, body) = match to.binding {
        Binding::Rest => rest(to, question, &params),
        Binding::Rpc | Binding::OldRpc => {
            let body = Json::of(&Call {
                jsonrpc: "2.0",
                id: 1,
                method: name(to.binding, question),
                params: &params,
            });
            (Method::POST, to.url.clone(), Some(body))
        }
    };
    let body = body.map_or_else(Bytes::new, |it| Bytes::copy_from_slice(it.get().as_bytes()));
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    let fault = |_| Problem::Unready("the agent card names no URL".to_owned());
    *request.uri_mut() = url.parse().map_err(fault)?;
    *request.headers_mut() = headers;
    let version = match to.binding {
        Binding::OldRpc => "0.3",
        Binding::Rpc | Binding::Rest => "1.0",
    };
    let accepted = "application/a2a+json, application/json";
    let agent = concat!("amtpd/", env!("CARGO_PKG_VERSION"));
    for (name, value) in [
        (HeaderName::from_static("a2a-version"), version),
        (CONTENT_TYPE, "application/json"),
        (ACCEPT, accepted),
        (USER_AGENT, agent),
    ] {
        let value = HeaderValue::from_static(value);
        request.headers_mut().insert(name, value);
    }
    Ok(request)
}

const fn name(binding: Binding, question: Question<'_>) -> &'static str {
    match (binding, question) {
        (Binding::OldRpc, Question::Send { .. }) => "message/send",
        (Binding::OldRpc, Question::Look(_)) => "tasks/get",
        (Binding::OldRpc, Question::Cancel(_)) => "tasks/cancel",
        (_, Question::Send { .. }) => "SendMessage",
        (_, Question::Look(_)) => "GetTask",
        (_, Question::Cancel(_)) => "CancelTask",
    }
}

fn params<'a>(to: &'a Interface, question: Question<'a>) -> Params<'a> {
    let empty = Params {
        tenant: to.tenant.as_deref(),
        id: None,
        history_length: None,
        message: None,
        configuration: None,
    };
    match question {
        Question::Look(task) => Params {
            id: Some(task),
            history_length: Some(0),
            ..empty
        },
        Question::Cancel(task) => Params {
            id: Some(task),
            ..empty
        },
        Question::Send {
            message,
            modes,
            callback,
        } => {
            let old = to.binding == Binding::OldRpc;
            let callback = callback.map(|url| Callback { url });
            let (new_push, old_push) = match old {
                true => (None, callback),
                false => (callback, None),
            };
            Params {
                message: Some(match old {
                    true => old::message(message),
                    false => Json::of(message),
                }),
                configuration: Some(Configuration {
                    accepted_output_modes: modes,
                    history_length: 0,
                    return_immediately: (!old).then_some(true),
                    task_push_notification_config: new_push,
                    blocking: old.then_some(false),
                    push_notification_config: old_push,
                }),
                ..empty
            }
        }
    }
}

fn rest(
    to: &Interface,
    question: Question<'_>,
    params: &Params<'_>,
) -> (Method, String, Option<Json>) {
    let base = match &to.tenant {
        Some(tenant) => format!("{}/{}", to.url, segment(tenant)),
        None => to.url.clone(),
    };
    match question {
        Question::Send { .. } => (
            Method::POST,
            format!("{base}/message:send"),
            Some(Json::of(params)),
        ),
        Question::Look(task) => (
            Method::GET,
            format!("{base}/tasks/{}?historyLength=0", segment(task)),
            None,
        ),
        Question::Cancel(task) => (
            Method::POST,
            format!("{base}/tasks/{}:cancel", segment(task)),
            Some(Json::of(&serde_json::json!({}))),
        ),
    }
}

/// A segment of a path.
fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => write!(out, "%{byte:02X}").expect("text takes text"),
        }
    }
    out
}

/// What an answer says.
pub(super) fn read_answer(
    binding: Binding,
    question: Question<'_>,
    answer: &Answer,
    now: Timestamp,
) -> Result<Heard, Problem> {
    let status = || Problem::Status(answer.status, retry_after(&answer.headers, now));
    let garbage = |text: &dyn std::fmt::Display| match answer.status.is_success() {
        true => Problem::Garbage(clean(&text.to_string(), LONGEST_WORDS)),
        false => status(),
    };
    let text = std::str::from_utf8(&answer.body).map_err(|_| garbage(&"no UTF-8"))?;
    let top = Place::top(text, "");
    let object = top.object().map_err(|_| garbage(&"no JSON object"))?;
    if let Some(error) = object.get("error") {
        let fault = error.object().ok().and_then(|it| fault(&it));
        return Err(fault.unwrap_or_else(status));
    }
    if !answer.status.is_success() {
        return Err(status());
    }
    let result = match binding {
        Binding::Rest => top,
        Binding::Rpc | Binding::OldRpc => object.required("result").map_err(|it| garbage(&it))?,
    };
    let heard = heard(binding, question, &result).map_err(|it| garbage(&it))?;
    match &heard {
        Heard::Task(task) => {
            let fits = !task.id.is_empty() && task.id.len() <= LONGEST_ID;
            let fits = fits && task.context_id.len() <= LONGEST_ID;
            let asked = match question {
                Question::Look(id) | Question::Cancel(id) => task.id == id,
                Question::Send { .. } => true,
            };
            match (fits, asked) {
                (true, true) => Ok(heard),
                (false, _) => Err(garbage(&"a task without a usable id")),
                (_, false) => Err(garbage(&"another task than the one that was asked for")),
            }
        }
        Heard::Message(_) if matches!(question, Question::Send { .. }) => Ok(heard),
        Heard::Message(_) => Err(garbage(&"a message in place of a task")),
    }
}

fn heard(
    binding: Binding,
    question: Question<'_>,
    result: &Place<'_>,
) -> Result<Heard, crate::task::Fault> {
    if binding == Binding::OldRpc {
        return old::heard(result);
    }
    if !matches!(question, Question::Send { .. }) {
        return Ok(Heard::Task(Box::new(read::task(result)?)));
    }
    match read::stream_response(result)? {
        StreamResponse::Task(task) => Ok(Heard::Task(Box::new(task))),
        StreamResponse::Message(message) => Ok(Heard::Message(Box::new(message))),
        StreamResponse::StatusUpdate(_) | StreamResponse::ArtifactUpdate(_) => {
            Err(result.fault("must be a task or a message"))
        }
    }
}

/// An error of the protocol: of JSON-RPC, or of HTTP+JSON, where a reason stands for the number.
/// Nothing where there is only the status of HTTP again.
fn fault(error: &Object<'_>) -> Option<Problem> {
    let words = error.get("message").and_then(|it| string_of(it.raw()));
    let words = clean(&words.unwrap_or_default(), LONGEST_WORDS);
    let code = error.get("code").and_then(|it| it.int().ok());
    let code = reason(error).or(code.filter(|code| *code < 0))?;
    Some(Problem::Error(code, words))
}

fn reason(error: &Object<'_>) -> Option<i32> {
    let details = error.list("details", 20).ok()?;
    details.iter().find_map(|place| {
        let reason = place.object().ok()?.name("reason").ok()??;
        REASONS
            .into_iter()
            .find(|(name, _)| *name == reason)
            .map(|(_, code)| code)
    })
}

const REASONS: [(&str, i32); 12] = [
    ("TASK_NOT_FOUND", TASK_NOT_FOUND),
    ("TASK_NOT_CANCELABLE", -32002),
    ("PUSH_NOTIFICATION_NOT_SUPPORTED", NO_PUSH),
    ("UNSUPPORTED_OPERATION", UNSUPPORTED),
    ("CONTENT_TYPE_NOT_SUPPORTED", -32005),
    ("INVALID_AGENT_RESPONSE", -32006),
    ("EXTENSION_SUPPORT_REQUIRED", -32008),
    ("VERSION_NOT_SUPPORTED", -32009),
    ("PARSE_ERROR", -32700),
    ("INVALID_REQUEST", -32600),
    ("METHOD_NOT_FOUND", -32601),
    ("INVALID_PARAMS", -32602),
];

#[cfg(test)]
mod tests;
