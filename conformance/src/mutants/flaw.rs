//! Rules that a proxy before the gateway can break.

use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{StatusCode, Version};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::bench::Arrived;
use crate::client::Answer;

/// What is wrong with the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// It speaks TLS 1.2 as well.
    OldTls,
    /// It speaks no HTTP/2.
    NoHttp2,
    /// Answers lack a header.
    WithoutHeader(&'static str),
    /// Answers are no JSON by what they say.
    ContentType,
    /// One status is answered in place of another.
    Status(u16, u16),
    /// Every tenth message is accepted and forgotten.
    Loses,
    /// Every message is delivered twice.
    Twice,
    /// The first two messages of an inbox are exchanged.
    Swaps,
    /// Lists lack their last entry.
    Truncates,
    /// Lists do not say that they go on.
    NoCursor,
    /// Answers lack a member.
    WithoutMember(&'static str),
    /// Error bodies lack a member.
    WithoutErrorMember(&'static str),
    /// What is not the caller's inbox is shown as an empty one.
    ForeignInbox,
    /// Every receipt has an id of its own.
    FreshIds,
    /// A number that no double holds passes through one.
    Rounds,
    /// Requests lose a member.
    Forgets(&'static str),
    /// Acknowledging is confirmed and not done.
    LazyAcknowledge,
    /// Cancelling is confirmed and not done.
    LazyCancel,
    /// Whatever came unsigned is shown as verified.
    Trusts,
    /// Queries are ignored.
    NoQuery,
    /// Every status is told to be delivered.
    AlwaysDelivered,
    /// One text stands in answers in place of another.
    Says(&'static str, &'static str),
}

fn is_post(request: &Arrived) -> bool {
    request.method == "POST" && request.path.starts_with("/v1/messages")
}

impl Flaw {
    /// What is answered without asking the gateway.
    pub(super) fn instead(self, request: &Arrived, number: usize) -> Option<Answer> {
        let deletes = |path: &str| request.method == "DELETE" && request.path.starts_with(path);
        match self {
            Self::Loses if number > 0 && number.is_multiple_of(10) => {
                let message: Value = serde_json::from_slice(&request.body).ok()?;
                let rows = json!([{ "address": message["recipients"][0], "status": "delivered" }]);
                let id = Uuid::new_v4();
                Some(made_up(
                    202,
                    &json!({ "message_id": id, "status": "accepted", "recipients": rows }),
                ))
            }
            Self::LazyAcknowledge if deletes("/v1/inbox/") => {
                Some(made_up(200, &json!({ "status": "acknowledged" })))
            }
            Self::LazyCancel if deletes("/v1/messages/") => {
                let rows = json!([{ "status": "cancelled" }]);
                Some(made_up(
                    200,
                    &json!({ "status": "cancelled", "recipients": rows }),
                ))
            }
            _ => None,
        }
    }

    /// Changes what the gateway is asked.
    pub(super) fn bend(self, request: &mut Arrived) {
        match self {
            Self::NoQuery => {
                let path = request.path.split('?').next();
                request.path = path.unwrap_or_default().to_owned();
            }
            Self::Forgets(member) if is_post(request) => {
                change(request, |message| {
                    message.as_object_mut().map(|it| it.remove(member));
                });
            }
            Self::Rounds if is_post(request) => {
                let text = String::from_utf8_lossy(&request.body);
                let rounded = text.replace("9007199254740993", "9007199254740992");
                request.body = rounded.into();
            }
            _ => {}
        }
    }

    /// What the gateway is asked once more.
    pub(super) fn again(self, request: &Arrived) -> Option<Arrived> {
        if self != Self::Twice || !is_post(request) {
            return None;
        }
        let mut again = request.clone();
        change(&mut again, |message| {
            message["idempotency_key"] = json!(Uuid::new_v4());
            message["message_id"] = Value::Null;
        });
        Some(again)
    }

    /// Changes what the gateway answers.
    pub(super) fn twist(self, request: &Arrived, answer: &mut Answer) {
        match self {
            Self::WithoutHeader(name) => {
                answer.headers.remove(name);
            }
            Self::ContentType => {
                let kind = HeaderValue::from_static("text/plain");
                answer.headers.insert(CONTENT_TYPE, kind);
            }
            Self::Status(from, to) if answer.status.as_u16() == from => {
                answer.status = StatusCode::from_u16(to).unwrap_or_default();
            }
            Self::Says(from, to) => answer.text = answer.text.replace(from, to),
            Self::ForeignInbox
                if answer.status == StatusCode::FORBIDDEN
                    && request.path.starts_with("/v1/inbox/") =>
            {
                *answer = made_up(
                    200,
                    &json!({ "messages": [], "count": 0, "has_more": false }),
                );
            }
            _ => self.twist_body(request, answer),
        }
    }

    fn twist_body(self, request: &Arrived, answer: &mut Answer) {
        let Ok(mut body) = serde_json::from_str::<Value>(&answer.text) else {
            return;
        };
        let list = |body: &mut Value, work: fn(&mut Vec<Value>)| {
            for name in ["messages", "agents"] {
                body[name].as_array_mut().map(work);
            }
        };
        match self {
            Self::Swaps => list(&mut body, |all| {
                if all.len() > 1 {
                    all.swap(0, 1);
                }
            }),
            Self::Truncates => list(&mut body, |all| {
                all.pop();
            }),
            Self::NoCursor => body["next_cursor"] = Value::Null,
            Self::WithoutMember(name) => {
                let all = body["messages"].as_array_mut();
                for message in all.into_iter().flatten() {
                    message.as_object_mut().map(|it| it.remove(name));
                }
                body.as_object_mut().map(|it| it.remove(name));
            }
            Self::WithoutErrorMember(name) => {
                body["error"].as_object_mut().map(|it| it.remove(name));
            }
            Self::FreshIds if is_post(request) => body["message_id"] = json!(Uuid::new_v4()),
            Self::Trusts => {
                let all = body["messages"].as_array_mut();
                for message in all.into_iter().flatten() {
                    message["sender_verification"]["result"] = json!("verified");
                }
            }
            Self::AlwaysDelivered if request.path.ends_with("/status") => {
                body["status"] = json!("delivered");
                let rows = body["recipients"].as_array_mut();
                for row in rows.into_iter().flatten() {
                    row["status"] = json!("delivered");
                }
            }
            _ => return,
        }
        answer.text = body.to_string();
    }
}

fn change(request: &mut Arrived, work: impl FnOnce(&mut Value)) {
    if let Ok(mut message) = serde_json::from_slice::<Value>(&request.body) {
        work(&mut message);
        request.body = message.to_string().into();
    }
}

fn made_up(status: u16, body: &Value) -> Answer {
    let mut headers = HeaderMap::new();
    let kind = HeaderValue::from_static("application/json");
    headers.insert(CONTENT_TYPE, kind);
    Answer {
        status: StatusCode::from_u16(status).unwrap_or_default(),
        version: Version::HTTP_2,
        headers,
        text: body.to_string(),
    }
}
