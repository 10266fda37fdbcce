//! `/v1/inbox/{address}/stream`: mail as it arrives, as server-sent events.
//!
//! - The first event is `session`; each `message` event has the message as its data and its cursor as
//!   its id. Comments show that the stream lives.
//! - A message is acknowledged by the routes of the inbox, or with `ack=auto` as soon as the connection
//!   took it and asks for what comes after it. What is not acknowledged comes again after a reconnect.
//! - `Last-Event-ID` names the last event that arrived. With `ack=auto` that one does not come again.
//! - The stream ends with an event `close` that says why.

use std::fmt::Write as _;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::admit::entry;
use super::cursor;
use super::error::ApiError;
use super::extract::{Caller, Gate, Params, invalid_field};
use super::inbox::{item, mailbox};
use super::server::Connection;
use crate::auth::Presented;
use crate::clock::Clock;
use crate::endpoint::pieces::{self, Source};
use crate::envelope::Principal;
use crate::live::{MOST_CREDIT, OpenFault, Opening, Pushed, Session, SessionKind};
use crate::protocol::{ErrorCode, MessageId};
use crate::store::InboxItem;

const LAST_EVENT: &str = "last-event-id";
/// The server gives a connection up on which nothing moves for thirty seconds.
const LONGEST_SILENCE: Duration = Duration::from_secs(15);
/// Milliseconds after which a client is to come again.
const RETRY: u64 = 1_000;

/// `GET /v1/inbox/{address}/stream`
pub(super) async fn open(
    State(api): Gate,
    Caller(presented): Caller,
    Path(address): Path<String>,
    (headers, extensions): (HeaderMap, Extensions),
    params: Params,
) -> Result<Response, ApiError> {
    let (agent, key_id) = match &presented {
        Presented::Principal(Principal::Agent { id, key_id, .. }) => (*id, key_id.clone()),
        _ => (0, String::new()),
    };
    let (mailbox, owner) = mailbox(&api, presented, &address).await?;
    let most = usize::try_from(MOST_CREDIT).unwrap_or(usize::MAX);
    let credit = params.number("credit", 1..=most, 100)?;
    let confirms = confirms(&params)?;
    let last = last_event(&headers)?;
    let connection = extensions.get::<Connection>();
    let opening = Opening {
        mailbox,
        agent,
        address: owner,
        key_id,
        kind: SessionKind::Stream,
        remote: connection.map(|it| it.client.ip().to_string()),
        resume: params.text("resume").map(str::to_owned),
        credit: u32::try_from(credit).unwrap_or(MOST_CREDIT),
    };
    // Who is pushed to does not count among those who read.
    drop(entry(&extensions));
    let session = api.live.open(opening).await?;
    let known = match last.filter(|_| confirms) {
        Some(seq) => api.store.handed_out(mailbox, seq).await?,
        None => None,
    };
    let heartbeat = api.live.rules().heartbeat.min(LONGEST_SILENCE);
    let stream = Stream {
        first: Some(greeting(&session, credit, heartbeat)),
        session,
        confirms,
        unconfirmed: known.into_iter().collect(),
        clock: api.clock.clone(),
        draining: api.draining.clone(),
        heartbeat,
    };
    let mut answer = Response::new(pieces::body(stream));
    let headers = answer.headers_mut();
    let value = HeaderValue::from_static("text/event-stream");
    headers.insert(header::CONTENT_TYPE, value);
    Ok(answer)
}

impl From<OpenFault> for ApiError {
    fn from(fault: OpenFault) -> Self {
        match fault {
            OpenFault::TooMany => Self::new(ErrorCode::RateLimitExceeded)
                .message("The agent has as many sessions as it may.")
                .retry_after(Duration::from_secs(30)),
            OpenFault::BadResume => {
                invalid_field("resume", "names no session to go on with: open a new one")
            }
            OpenFault::Gone => Self::new(ErrorCode::NotFound),
            OpenFault::Store(error) => error.into(),
        }
    }
}

/// Whether the connection itself acknowledges.
fn confirms(params: &Params) -> Result<bool, ApiError> {
    match params.text("ack") {
        None | Some("route") => Ok(false),
        Some("auto") => Ok(true),
        Some(_) => Err(invalid_field("ack", "must be route or auto")),
    }
}

/// The position of the last event that arrived.
fn last_event(headers: &HeaderMap) -> Result<Option<i64>, ApiError> {
    let Some(value) = headers.get(LAST_EVENT).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let seq = value.to_str().ok().and_then(cursor::read);
    seq.map(Some)
        .ok_or_else(|| invalid_field("Last-Event-ID", "is not one of ours"))
}

fn greeting(session: &Session, credit: usize, heartbeat: Duration) -> Bytes {
    let data = json!({
        "session": session.id(),
        "resume": session.resume_token(),
        "resumed": session.is_resumed(),
        "credit": credit,
        "heartbeat": heartbeat.as_secs(),
    });
    Bytes::from(format!("retry: {RETRY}\nevent: session\ndata: {data}\n\n"))
}

/// An open stream.
struct Stream {
    first: Option<Bytes>,
    session: Session,
    /// Whether what the connection took is acknowledged.
    confirms: bool,
    /// What it took, or is taking, and is not acknowledged yet.
    unconfirmed: Vec<MessageId>,
    clock: Clock,
    draining: CancellationToken,
    heartbeat: Duration,
}

impl Source for Stream {
    async fn step(mut self) -> (Bytes, Option<Self>) {
        if let Some(first) = self.first.take() {
            return (first, Some(self));
        }
        self.session.heard();
        self.confirm().await;
        let pushed = tokio::select! {
            biased;
            () = self.draining.cancelled() => Pushed::Closed("the gateway is going down".to_owned()),
            pushed = self.session.next() => pushed,
            () = self.clock.wait(self.heartbeat) => return (Bytes::from_static(b":\n\n"), Some(self)),
        };
        match pushed {
            Pushed::Mail(items) => {
                if self.confirms {
                    let ids = items.iter().map(|item| item.message.message_id.clone());
                    self.unconfirmed.extend(ids);
                }
                (events(&items), Some(self))
            }
            Pushed::Closed(reason) => {
                self.session.detach().await;
                let data = json!({ "reason": reason });
                (Bytes::from(format!("event: close\ndata: {data}\n\n")), None)
            }
        }
    }
}

impl Stream {
    /// Acknowledges what the connection took. What cannot be now is later: it takes up credit.
    async fn confirm(&mut self) {
        if self.unconfirmed.is_empty() {
            return;
        }
        match self.session.acknowledge(self.unconfirmed.clone()).await {
            Ok(_) => self.unconfirmed.clear(),
            Err(error) => tracing::debug!(%error, "a stream's mail is acknowledged later"),
        }
    }
}

fn events(items: &[InboxItem]) -> Bytes {
    let mut text = String::new();
    for one in items {
        match item(one) {
            Ok(message) => event(&mut text, &cursor::write(one.seq), message.get()),
            // It is told in the log once, and does not hold up the others.
            Err(error) => {
                let id = one.message.message_id.as_str();
                tracing::error!(message.id = id, ?error, "a stored message cannot be shown");
            }
        }
    }
    Bytes::from(text)
}

/// Writes one event; line breaks between the members of a message are lines of data.
fn event(text: &mut String, id: &str, data: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "id: {id}\nevent: message");
    for line in data.split(['\n', '\r']) {
        let _ = writeln!(text, "data: {line}");
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_several_lines_is_one_event() {
        let mut text = String::new();
        event(&mut text, "c", "{\n \"a\": 1\r\n}");
        assert_eq!(
            text,
            "id: c\nevent: message\ndata: {\ndata:  \"a\": 1\ndata: \ndata: }\n\n"
        );
    }

    #[test]
    fn the_last_event_is_one_of_ours_or_none() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(LAST_EVENT, value.parse().unwrap());
            last_event(&headers)
        };
        assert_eq!(of(&cursor::write(7)).unwrap(), Some(7));
        assert_eq!(of("").unwrap(), None);
        assert_eq!(last_event(&HeaderMap::new()).unwrap(), None);
        assert_eq!(
            of("nonsense").unwrap_err().code(),
            ErrorCode::InvalidParameter
        );
    }
}
