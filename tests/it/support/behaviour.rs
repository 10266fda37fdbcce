//! What a scripted server may do with a request, from the right answer to the worst.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::Response;
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::a2a_agent::A2aAgent;
use super::agentry::Agentry;
use super::background;
use super::pause;
use super::server::{Cut, Seen};

/// The id that [`Behaviour::OtherId`] answers.
pub const OTHER_ID: &str = "01987654-3210-7654-8765-432198765432";

/// What is done with one request.
#[derive(Debug, Clone)]
pub enum Behaviour {
    /// 202 with the receipt of AMTP for the message that came.
    Accept,
    /// Exactly this answer.
    Status {
        code: u16,
        content_type: String,
        body: String,
        headers: Vec<(String, String)>,
    },
    /// 202 with a receipt that names the recipients under [`OTHER_ID`].
    OtherId,
    /// 200 with a page for people.
    HtmlOk,
    /// 202 without a body.
    Empty202,
    /// 307 to this URL.
    RedirectTo(String),
    /// This status, to be tried again after so many seconds.
    RetryAfter(u16, u64),
    /// No answer, ever.
    Hang,
    /// The head and half of a receipt, then the connection is closed.
    HalfAnswer,
    /// 200 with a JSON text that never ends.
    EndlessBody,
    /// A receipt byte by byte, with this pause before each.
    SlowBody(Duration),
    /// No answer: HTTP/2 says GOAWAY, then the connection is closed.
    GoAway,
    /// No answer: the connection is reset.
    Reset,
    /// The next HTTP/2 connection is sent 1,000 SETTINGS frames and nothing else. A request on an
    /// older connection is not answered and its connection is closed.
    SettingsFlood,
    /// What today's Go gateway would do.
    Agentry(Agentry),
    /// What an A2A agent would do.
    A2a(A2aAgent),
}

impl Behaviour {
    /// An answer in JSON.
    pub fn json(code: u16, body: &Value) -> Self {
        Self::Status {
            code,
            content_type: "application/json".to_owned(),
            body: body.to_string(),
            headers: Vec::new(),
        }
    }

    /// A refusal with AMTP's `error` object.
    pub fn error(code: u16, error: &str) -> Self {
        let error = json!({ "code": error, "message": "scripted", "request_id": "r-1" });
        Self::json(code, &json!({ "error": error }))
    }
}

/// AMTP's receipt for a message, under this id.
pub fn receipt(message: &Value, id: &Value) -> Value {
    let recipients = message["recipients"].as_array().into_iter().flatten();
    let recipients: Vec<Value> = recipients
        .map(|address| json!({ "address": address, "status": "queued" }))
        .collect();
    json!({ "message_id": id, "status": "accepted", "recipients": recipients })
}

/// Does it.
pub async fn play(
    step: Behaviour,
    seen: &Seen,
    cuts: mpsc::UnboundedSender<Cut>,
) -> Response<Body> {
    let ours = receipt(&seen.json, &seen.json["message_id"]);
    match step {
        Behaviour::Accept => json_answer(202, &ours),
        Behaviour::Status {
            code,
            content_type,
            body,
            headers,
        } => {
            let mut answer = plain_answer(code, &content_type, body);
            for (name, value) in headers {
                let name: hyper::header::HeaderName = name.parse().unwrap();
                answer.headers_mut().append(name, value.parse().unwrap());
            }
            answer
        }
        Behaviour::OtherId => json_answer(202, &receipt(&seen.json, &json!(OTHER_ID))),
        Behaviour::HtmlOk => {
            plain_answer(200, "text/html", "<!doctype html><p>It works!".to_owned())
        }
        Behaviour::Empty202 => Response::builder()
            .status(202)
            .body(Either::Left(Full::default()))
            .unwrap(),
        Behaviour::RedirectTo(url) => with_header(307, "location", &url),
        Behaviour::RetryAfter(code, seconds) => {
            with_header(code, "retry-after", &seconds.to_string())
        }
        Behaviour::Agentry(agentry) => {
            let (code, content_type, body) = agentry.answer(seen);
            plain_answer(code, content_type, body)
        }
        Behaviour::A2a(agent) => {
            let (code, body) = agent.answer(seen);
            json_answer(code, &body)
        }
        Behaviour::HalfAnswer => half(&ours, cuts),
        Behaviour::EndlessBody => endless(),
        Behaviour::SlowBody(time) => slow(&ours, time),
        Behaviour::Hang => std::future::pending().await,
        Behaviour::GoAway => cut(&cuts, Cut::GoAway).await,
        Behaviour::Reset => cut(&cuts, Cut::Reset).await,
        Behaviour::SettingsFlood => cut(&cuts, Cut::Close).await,
    }
}

async fn cut(cuts: &mpsc::UnboundedSender<Cut>, how: Cut) -> Response<Body> {
    cuts.send(how).ok();
    std::future::pending().await
}

fn plain_answer(code: u16, content_type: &str, body: String) -> Response<Body> {
    Response::builder()
        .status(code)
        .header("content-type", content_type)
        .body(Either::Left(Full::from(body)))
        .unwrap()
}

fn json_answer(code: u16, body: &Value) -> Response<Body> {
    plain_answer(code, "application/json", body.to_string())
}

fn with_header(code: u16, name: &str, value: &str) -> Response<Body> {
    let mut answer = plain_answer(code, "text/plain", "elsewhere or later".to_owned());
    let name: hyper::header::HeaderName = name.parse().unwrap();
    answer.headers_mut().insert(name, value.parse().unwrap());
    answer
}

fn half(receipt: &Value, cuts: mpsc::UnboundedSender<Cut>) -> Response<Body> {
    let text = receipt.to_string();
    let (feed, answer) = fed(202, Some(text.len()));
    background::detach(async move {
        let first = Bytes::copy_from_slice(&text.as_bytes()[..text.len() / 2]);
        drop(feed.send(first).await);
        // The connection is cut while the rest is still awaited.
        cuts.send(Cut::Close).ok();
        feed.closed().await;
    });
    answer
}

fn endless() -> Response<Body> {
    let (feed, answer) = fed(200, None);
    background::detach(async move {
        let mut chunk = Bytes::from_static(b"{\"message_id\":\"");
        while feed.send(chunk).await.is_ok() {
            chunk = Bytes::from_static(&[b'x'; 16_384]);
        }
    });
    answer
}

fn slow(receipt: &Value, time: Duration) -> Response<Body> {
    let text = receipt.to_string();
    let (feed, answer) = fed(202, Some(text.len()));
    background::detach(async move {
        for byte in text.into_bytes() {
            pause(time).await;
            if feed.send(Bytes::from(vec![byte])).await.is_err() {
                return;
            }
        }
    });
    answer
}

/// A JSON answer whose body is still to be sent.
fn fed(code: u16, length: Option<usize>) -> (mpsc::Sender<Bytes>, Response<Body>) {
    let (feed, body) = mpsc::channel(1);
    let mut answer = Response::builder()
        .status(code)
        .header("content-type", "application/json");
    if let Some(length) = length {
        answer = answer.header("content-length", length);
    }
    (feed, answer.body(Either::Right(Fed(body))).unwrap())
}

/// What an answer's body is made of.
pub type Body = Either<Full<Bytes>, Fed>;

/// A body that is sent as it is made.
#[derive(Debug)]
pub struct Fed(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.0.poll_recv(context);
        next.map(|data| data.map(|data| Ok(Frame::data(data))))
    }
}
