//! JSON-RPC: one call, in any dialect.

use std::sync::Arc;

use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};

use super::calling::{Call, admits};
use super::dialect::error::{A2aError, Kind};
use super::dialect::method::{self, Method, Speaker};
use super::dialect::version::{self, Asked};
use super::dialect::{Answer, Operation, TaskRequest, envelope, v01, v1, v03};
use super::following::{Follow, Wrap};
use super::operations::Done;
use super::place::{Place, Wanted};
use super::reply;
use super::tools::{A2a, Visitor};
use crate::auth::audit::{Event, Outcome, actor};
use crate::store::Agent;
use crate::task::{Dialect, Json, Object, Place as Member};

impl A2a {
    /// Whether somebody may call at a place: asked before the body is read. What is refused is
    /// answered already.
    ///
    /// # Errors
    /// The answer.
    pub async fn enter(
        &self,
        place: &Place,
        visitor: &Visitor,
    ) -> Result<Option<Arc<Agent>>, Box<Response<Body>>> {
        let found = match self.agent(place).await {
            Ok(None) if place.agent.is_some() => {
                Err(A2aError::new(Kind::NoAgent, "there is no such agent"))
            }
            Ok(Some(agent)) => admits(&agent, &visitor.principal).map(|()| Some(agent)),
            found => found,
        };
        found.map_err(|error| Box::new(self.refused(&error, place, visitor)))
    }

    /// An error in the words of the binding at a place.
    pub(super) fn refused(
        &self,
        error: &A2aError,
        place: &Place,
        visitor: &Visitor,
    ) -> Response<Body> {
        // Who forgets its key guesses nothing.
        if error.kind == Kind::Forbidden {
            self.note_denied(place, visitor);
        }
        match place.wanted {
            Wanted::Root => reply::rpc_error(None, error, spoken(visitor)),
            _ => reply::rest_error(error, visitor),
        }
    }

    fn note_denied(&self, place: &Place, visitor: &Visitor) {
        let who = actor(&visitor.principal);
        let subject = place.agent.as_ref().map_or("", |(_, name)| name.as_str());
        let event = Event::new("a2a.denied", who, subject, Outcome::Denied);
        self.audit
            .note(event.in_request(&visitor.request_id, visitor.remote));
    }

    /// A code of AMTP in the words of the binding at a place.
    #[must_use]
    pub fn refused_with(
        &self,
        code: crate::protocol::ErrorCode,
        retry_after: Option<std::time::Duration>,
        (place, visitor): (&Place, &Visitor),
    ) -> Response<Body> {
        let mut error = A2aError::of_code(code);
        error.retry_after = retry_after;
        match place.wanted {
            Wanted::Root => reply::rpc_error(None, &error, spoken(visitor)),
            _ => reply::rest_error(&error, visitor),
        }
    }

    /// Answers a call.
    pub async fn call(
        &self,
        agent: Option<Arc<Agent>>,
        visitor: &Visitor,
        body: &[u8],
    ) -> Response<Body> {
        let spoken = spoken(visitor);
        let sent = visitor.text(CONTENT_TYPE.as_str()).map(reply::essence);
        if sent.as_deref() != Some(reply::JSON) {
            let text = "a call is sent as Content-Type: application/json";
            let error = A2aError::new(Kind::MediaType, text);
            return reply::rpc_error(None, &error, spoken);
        }
        let call = match envelope::read(body) {
            Ok(call) => call,
            Err((id, error)) => return reply::rpc_error(id.as_ref(), &error, spoken),
        };
        let Some((method, speaker)) = method::find(&call.method) else {
            let error = A2aError::new(Kind::MethodNotFound, "there is no such method");
            return reply::rpc_error(Some(&call.id), &error, spoken);
        };
        let mut dialect = match speaker {
            Speaker::Of(dialect) => dialect,
            Speaker::Older => Dialect::V03,
        };
        let done = self.done((agent, visitor), &call, (method, speaker), &mut dialect);
        match Box::pin(done).await {
            Ok(answer) => answer,
            // Clients of 0.3 read nothing but events there.
            Err(error)
                if dialect != Dialect::V1
                    && matches!(method, Method::Stream | Method::Subscribe)
                    && error.kind.rpc_status() == 200 =>
            {
                reply::one_event(&call.id, &error, dialect)
            }
            Err(error) => reply::rpc_error(Some(&call.id), &error, dialect),
        }
    }

    async fn done(
        &self,
        (agent, visitor): (Option<Arc<Agent>>, &Visitor),
        call: &envelope::Call<'_>,
        (method, speaker): (Method, Speaker),
        dialect: &mut Dialect,
    ) -> Result<Response<Body>, A2aError> {
        version::check(speaker, &visitor.version(), self.assumed())?;
        let parameters = Member::top(call.parameters, "").object()?;
        let agent = match agent {
            Some(agent) => agent,
            None => self.by_tenant(&parameters).await?,
        };
        let mut asked = Call::new(agent, visitor, *dialect)?;
        let fresh = self.clock.mint_v7().to_string();
        let operation = method::read((method, *dialect), &parameters, &fresh)?;
        if speaker == Speaker::Older
            && let Operation::Get(it) | Operation::Cancel(it) | Operation::Subscribe(it) =
                &operation
        {
            *dialect = self.dialect_of(&asked, it).await?;
            asked.dialect = *dialect;
        }
        let alias = alias(&operation);
        let mut answer = match self.perform(&asked, &operation).await? {
            Done::Answer(answer) => {
                let result = written(&answer, *dialect, &alias);
                let body = envelope::result(&call.id, &result);
                reply::json(StatusCode::OK, reply::JSON, body)
            }
            Done::Stream(subject) => {
                let wrap = Wrap::Call(call.id.clone());
                reply::events(Follow::new(self, subject, (*dialect, alias), wrap))
            }
        };
        reply::activate(&mut answer, &asked.extensions);
        Ok(answer)
    }

    /// The agent that the parameters name.
    async fn by_tenant(&self, parameters: &Object<'_>) -> Result<Arc<Agent>, A2aError> {
        let tenant = parameters.required_name("tenant")?;
        let found = self.tenant(&tenant).await?;
        found.ok_or_else(|| A2aError::new(Kind::NoAgent, "there is no such agent"))
    }

    /// The dialect that a task was made in; that of 0.3 where 0.1 does not know it.
    async fn dialect_of(&self, call: &Call, asked: &TaskRequest) -> Result<Dialect, A2aError> {
        if self.aliased(call, &asked.id).await?.is_some() {
            return Ok(Dialect::V01);
        }
        Ok(Dialect::V03)
    }
}

/// The dialect of errors of what is no call yet.
fn spoken(visitor: &Visitor) -> Dialect {
    match visitor.version() {
        Asked::Version(0, _) => Dialect::V03,
        _ => Dialect::V1,
    }
}

/// The name that the client gives the task, for 0.1.
fn alias(operation: &Operation) -> String {
    let name = match operation {
        Operation::Send(it) | Operation::Stream(it) => it.alias.as_deref(),
        Operation::Get(it) | Operation::Cancel(it) | Operation::Subscribe(it) => Some(&*it.id),
        Operation::PutPush(config) => config.task_id.as_deref(),
        Operation::FindPush(it) | Operation::DeletePush(it) => Some(&*it.task),
        Operation::ListPushes(it) => Some(&*it.task),
        Operation::List(_) | Operation::Card(_) => None,
    };
    name.unwrap_or_default().to_owned()
}

fn written(answer: &Answer, dialect: Dialect, alias: &str) -> Json {
    match dialect {
        Dialect::V1 => v1::answer(answer),
        Dialect::V03 => v03::answer(answer),
        Dialect::V01 => v01::answer(answer, alias),
    }
}
