//! Around every route of staff: nobody else gets to its handler, and what is changed stands in the
//! audit log before it is answered.

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use serde_json::json;

use super::Shared;
use super::error::ApiError;
use super::extract::{authorised, with_request};
use crate::auth::Presented;
use crate::auth::audit::{Event, Outcome, actor};
use crate::envelope::Principal;

/// The longest path that is written down.
const LONGEST: usize = 512;

/// Lets staff in, and writes down what they change.
pub(super) async fn staffed(
    State(api): State<Shared>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let presented = authorised(&parts, &api).await?;
    let event = match (&presented, &parts.method) {
        (_, &Method::GET | &Method::HEAD) => None,
        (Presented::Principal(principal), method) => {
            let route = parts.extensions.get::<MatchedPath>();
            let route = route.map_or("", MatchedPath::as_str);
            let what = format!("{method} {}", route.trim_start_matches("/v1/admin/"));
            Some(with_request(changing(&what, principal, &parts), &parts))
        }
        _ => None,
    };
    parts.extensions.insert(presented);
    let answer = next.run(Request::from_parts(parts, body)).await;
    if let Some(mut event) = event {
        let status = answer.status();
        event.outcome = match status.as_u16() {
            200..=399 => Outcome::Done,
            401 | 403 => Outcome::Denied,
            _ => Outcome::Failed,
        };
        event.details = Some(json!({ "status": status.as_u16() }));
        if let Err(error) = api.audit.record(event).await {
            tracing::error!(%error, "what was changed does not stand in the audit log");
        }
    }
    Ok(answer)
}

fn changing(what: &str, principal: &Principal, parts: &axum::http::request::Parts) -> Event {
    let path: String = parts.uri.path().chars().take(LONGEST).collect();
    Event::new(what, actor(principal), path, Outcome::Done)
}
