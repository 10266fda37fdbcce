//! What a peer does with a request, from the right answer to the worst.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use serde_json::{Value, json};

use super::peer::Seen;

/// The body of an answer.
pub(crate) type Body = BoxBody<Bytes, io::Error>;

/// The id that [`Behaviour::OtherId`] answers.
const OTHER_ID: &str = "01987654-3210-7654-8765-432198765432";

/// What is done with one request.
#[derive(Debug, Clone)]
pub(crate) enum Behaviour {
    /// 202 with the receipt for the message that came, or a line for each of a batch.
    Accept,
    /// The same after a while.
    Slow(Duration),
    /// This status with this body and these headers.
    Answer(u16, Value, Vec<(&'static str, String)>),
    /// 202, but the receipt is one of another message: a duplicate table that knows the key alone.
    OtherId,
    /// 202, the receipt reports this recipient as failed.
    Fails(String),
    /// 200 with a page for people.
    Page,
    /// 202 without a body.
    Empty,
    /// 307 to this URL.
    Redirect(String),
    /// The head and a part of a receipt, then the connection breaks.
    Half,
    /// 202 with a message in reply.
    Reply(Value),
}

impl Behaviour {
    /// A refusal with the error object of AMTP.
    pub(crate) fn error(status: u16, code: &str) -> Self {
        let error = json!({ "code": code, "message": "scripted", "request_id": "r-1",
            "timestamp": "2026-08-14T10:30:00Z" });
        Self::Answer(status, json!({ "error": error }), Vec::new())
    }

    /// A status that proxies answer, without an error object.
    pub(crate) fn bare(status: u16) -> Self {
        Self::Answer(status, Value::Null, Vec::new())
    }

    /// A status with a time to come again.
    pub(crate) fn later(status: u16, seconds: u32) -> Self {
        let header = ("retry-after", seconds.to_string());
        Self::Answer(status, Value::Null, vec![header])
    }

    /// Does it.
    pub(crate) async fn play(self, seen: &Seen) -> Response<Body> {
        match self {
            Self::Accept => accepted(seen, &Value::Null),
            Self::Slow(time) => {
                pause(time).await;
                accepted(seen, &Value::Null)
            }
            Self::Answer(status, body, headers) => {
                let text = match body {
                    Value::Null => "later, or elsewhere".to_owned(),
                    body => body.to_string(),
                };
                let kind = if text.starts_with('{') {
                    "application/json"
                } else {
                    "text/plain"
                };
                let mut headers = headers;
                headers.push(("content-type", kind.to_owned()));
                answer(status, &headers, text)
            }
            Self::OtherId => {
                let mut receipt = receipt(&seen.json());
                receipt["message_id"] = json!(OTHER_ID);
                receipt["recipients"] = json!([]);
                in_json(202, &receipt)
            }
            Self::Fails(address) => {
                let mut receipt = receipt(&seen.json());
                for row in receipt["recipients"].as_array_mut().into_iter().flatten() {
                    if row["address"] == address.as_str() {
                        row["status"] = json!("failed");
                        row["error_code"] = json!("AGENT_UNKNOWN");
                    }
                }
                in_json(202, &receipt)
            }
            Self::Page => answer(
                200,
                &[("content-type", "text/html".to_owned())],
                "<!doctype html><p>It works!".to_owned(),
            ),
            Self::Empty => answer(202, &[], String::new()),
            Self::Redirect(url) => answer(307, &[("location", url)], String::new()),
            Self::Half => half(&receipt(&seen.json()).to_string()),
            Self::Reply(reply) => accepted(seen, &reply),
        }
    }
}

/// Real time: the other side has a clock of its own.
#[allow(
    clippy::disallowed_methods,
    reason = "the other side has its own clock"
)]
pub(crate) async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

/// The receipt of a message that is taken.
fn receipt(message: &Value) -> Value {
    let recipients = message["recipients"].as_array().into_iter().flatten();
    let recipients: Vec<Value> = recipients
        .map(|address| json!({ "address": address, "status": "queued" }))
        .collect();
    json!({ "message_id": message["message_id"], "status": "accepted", "recipients": recipients })
}

fn accepted(seen: &Seen, reply: &Value) -> Response<Body> {
    if seen.is_batch() {
        let line = |message| json!({ "status": 202, "receipt": receipt(message) }).to_string();
        let lines: Vec<String> = seen.messages().iter().map(line).collect();
        let kind = [("content-type", "application/x-ndjson".to_owned())];
        return answer(200, &kind, lines.join("\n") + "\n");
    }
    let mut receipt = receipt(&seen.json());
    if reply.is_null() {
        return in_json(202, &receipt);
    }
    receipt["status"] = json!("delivered");
    receipt["reply"] = reply.clone();
    in_json(200, &receipt)
}

fn in_json(status: u16, body: &Value) -> Response<Body> {
    let kind = [("content-type", "application/json".to_owned())];
    answer(status, &kind, body.to_string())
}

/// An answer; the head of one that cannot be made is 500.
pub(crate) fn answer(status: u16, headers: &[(&str, String)], body: String) -> Response<Body> {
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, value);
    }
    let body = Full::from(body).map_err(|never| match never {}).boxed();
    answer.body(body).unwrap_or_default()
}

fn half(text: &str) -> Response<Body> {
    let part = Bytes::copy_from_slice(&text.as_bytes()[..text.len() / 2]);
    let answer = Response::builder()
        .status(202)
        .header("content-type", "application/json")
        .header("content-length", text.len());
    let body = StreamBody::new(Broken(Some(part))).boxed();
    answer.body(body).unwrap_or_default()
}

/// A piece, and then the connection is lost.
struct Broken(Option<Bytes>);

impl futures_core::Stream for Broken {
    type Item = Result<Frame<Bytes>, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(Some(match self.0.take() {
            Some(part) => Ok(Frame::data(part)),
            None => Err(io::ErrorKind::ConnectionReset.into()),
        }))
    }
}
