//! HTTP+JSON: an operation by its path.

use std::sync::Arc;

use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{Method as Verb, Response, StatusCode};

use super::calling::Call;
use super::dialect::error::{A2aError, Kind};
use super::dialect::method::{Method, Speaker};
use super::dialect::{Answer, query, v1, version};
use super::following::{Follow, Wrap};
use super::operations::Done;
use super::reply;
use super::tools::{A2a, Visitor};
use crate::protocol::json::{scan_object, write_string};
use crate::store::Agent;
use crate::task::{Dialect, Place as Member};

/// An operation, with the parameters that stand in the path.
type Route<'a> = (Method, Vec<(&'static str, &'a str)>);

impl A2a {
    /// Answers an operation.
    pub async fn operation(
        &self,
        agent: Arc<Agent>,
        (verb, steps): (&Verb, &[String]),
        visitor: &Visitor,
        body: &[u8],
    ) -> Response<Body> {
        let done = self.routed(agent, (verb, steps), visitor, body);
        let done = Box::pin(done).await;
        done.unwrap_or_else(|error| reply::rest_error(&error, visitor))
    }

    async fn routed(
        &self,
        agent: Arc<Agent>,
        (verb, steps): (&Verb, &[String]),
        visitor: &Visitor,
        body: &[u8],
    ) -> Result<Response<Body>, A2aError> {
        let speaker = Speaker::Of(Dialect::V1);
        version::check(speaker, &visitor.version(), self.assumed())?;
        let Some((method, path)) = route(verb, steps) else {
            let text = "there is no such operation";
            return Err(A2aError::new(Kind::MethodNotFound, text));
        };
        let call = Call::new(agent, visitor, Dialect::V1)?;
        let parameters = match *verb {
            Verb::POST => of_body(visitor, body, &path)?,
            _ => {
                let pairs = visitor.query.iter();
                let pairs = pairs.map(|(name, value)| (name.as_str(), value.as_str()));
                query::object(&path, pairs)?
            }
        };
        let parameters = Member::top(&parameters, "").object()?;
        let operation = v1::read(method, &parameters)?;
        let mut answer = match self.perform(&call, &operation).await? {
            Done::Answer(answer) => {
                let body = match &answer {
                    Answer::Deleted => "{}".to_owned(),
                    answer => v1::answer(answer).get().to_owned(),
                };
                reply::json(StatusCode::OK, reply::media_type(visitor), body)
            }
            Done::Stream(subject) => {
                let of = (Dialect::V1, String::new());
                reply::events(Follow::new(self, subject, of, Wrap::Bare))
            }
        };
        reply::activate(&mut answer, &call.extensions);
        Ok(answer)
    }
}

fn route<'a>(verb: &Verb, steps: &'a [String]) -> Option<Route<'a>> {
    let names: Vec<&str> = steps.iter().map(String::as_str).collect();
    let is = |wanted: &Verb| verb == wanted;
    const CONFIGS: &str = "pushNotificationConfigs";
    match names[..] {
        ["message:send"] if is(&Verb::POST) => Some((Method::Send, Vec::new())),
        ["message:stream"] if is(&Verb::POST) => Some((Method::Stream, Vec::new())),
        ["tasks"] if is(&Verb::GET) => Some((Method::List, Vec::new())),
        ["tasks", step] => task(verb, step),
        ["tasks", task, CONFIGS] if is(&Verb::POST) => {
            Some((Method::PutPush, vec![("taskId", task)]))
        }
        ["tasks", task, CONFIGS] if is(&Verb::GET) => {
            Some((Method::ListPushes, vec![("taskId", task)]))
        }
        ["tasks", task, CONFIGS, id] if is(&Verb::GET) => {
            Some((Method::FindPush, vec![("taskId", task), ("id", id)]))
        }
        ["tasks", task, CONFIGS, id] if is(&Verb::DELETE) => {
            Some((Method::DeletePush, vec![("taskId", task), ("id", id)]))
        }
        ["extendedAgentCard"] if is(&Verb::GET) => Some((Method::Card, Vec::new())),
        _ => None,
    }
}

/// What follows the last colon is what is to be done with a task; ids of ours have none.
fn task<'a>(verb: &Verb, step: &'a str) -> Option<Route<'a>> {
    let (id, what) = match step.rsplit_once(':') {
        Some((id, what)) => (id, Some(what)),
        None => (step, None),
    };
    let method = match (verb, what) {
        (&Verb::GET, None) => Method::Get,
        (&Verb::POST, Some("cancel")) => Method::Cancel,
        (&Verb::GET | &Verb::POST, Some("subscribe")) => Method::Subscribe,
        _ => return None,
    };
    Some((method, vec![("id", id)]))
}

/// The parameters of a body, with those of the path in place of what it says of them.
fn of_body(
    visitor: &Visitor,
    body: &[u8],
    path: &[(&'static str, &str)],
) -> Result<String, A2aError> {
    let sent = visitor.text(CONTENT_TYPE.as_str()).map(reply::essence);
    let fits = matches!(sent.as_deref(), Some(reply::JSON | reply::A2A_JSON));
    let body = match body.iter().all(u8::is_ascii_whitespace) {
        // Where the path says everything there need not be a body.
        true if !path.is_empty() => b"{}",
        _ if !fits => {
            let text =
                "a request is sent as Content-Type: application/a2a+json or application/json";
            return Err(A2aError::new(Kind::MediaType, text));
        }
        _ => body,
    };
    let members = scan_object(body)?;
    let text = std::str::from_utf8(body).unwrap_or_default();
    let mut out = vec![b'{'];
    let name = |out: &mut Vec<u8>, name: &str| {
        if out.len() > 1 {
            out.push(b',');
        }
        write_string(name, out);
        out.push(b':');
    };
    for (key, value) in path {
        name(&mut out, key);
        write_string(value, &mut out);
    }
    let in_path = |found: &str| {
        let found = found.replace('_', "");
        path.iter().any(|(key, _)| key.eq_ignore_ascii_case(&found))
    };
    // The place of a configuration names the task; its own name is its own.
    for (key, place) in &members {
        if !in_path(key) {
            name(&mut out, key);
            out.extend_from_slice(text[place.clone()].as_bytes());
        }
    }
    out.push(b'}');
    Ok(String::from_utf8_lossy(&out).into_owned())
}
