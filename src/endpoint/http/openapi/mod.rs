//! What the API says of itself: `/openapi.json` for programs, `/docs` for people.
//!
//! - Which routes there are and whom they let in comes from the table of routes; what they take and
//!   answer stands in `areas/`, a file for each part of the API. A route without a description is a
//!   fault, and so is a description without a route.
//! - What every route can answer (who is not let in, a body that is too large) is added here, so that
//!   no file has to say it.
//! - The page is made of the document, needs no script and loads nothing.

mod area;
mod document;
mod page;
mod security;
mod shapes;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde_json::Value;

use super::error::ApiError;
use super::extract::Gate;
use super::routes::{Row, route_table};
use super::{Door, Shared, health};

/// The description has a fault: the file or the route, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DescriptionFault(String);

/// The OpenAPI 3.1 document of the whole API, as a gateway at `server` gives it out.
///
/// # Errors
/// A route and its description do not go together.
pub fn openapi(server: &str) -> Result<Value, DescriptionFault> {
    document::document(&rows(), &area::all()?, server)
}

/// Every route of the HTTPS listeners.
fn rows() -> Vec<Row> {
    let mut rows = route_table();
    rows.extend(health::ROWS);
    rows
}

/// What the two routes answer, made when it is first asked for.
#[derive(Debug, Default)]
pub(super) struct Description(OnceLock<Pages>);

#[derive(Debug)]
struct Pages {
    document: Bytes,
    page: Bytes,
    policy: HeaderValue,
}

impl Pages {
    fn of(server: &str) -> Result<Self, DescriptionFault> {
        let document = openapi(server)?;
        let policy = HeaderValue::try_from(page::policy());
        Ok(Self {
            document: document.to_string().into(),
            page: page::page(&document).into(),
            policy: policy.map_err(|fault| DescriptionFault(fault.to_string()))?,
        })
    }
}

impl Description {
    fn pages(&self, server: &str) -> Result<&Pages, DescriptionFault> {
        if let Some(pages) = self.0.get() {
            return Ok(pages);
        }
        let made = Pages::of(server)?;
        Ok(self.0.get_or_init(|| made))
    }
}

/// It changes only with the gateway's version.
const FRESH: (HeaderName, HeaderValue) = (
    header::CACHE_CONTROL,
    HeaderValue::from_static("public, max-age=300"),
);

/// `GET /openapi.json`
pub(super) async fn json(State(api): Gate) -> Result<Response, ApiError> {
    let pages = pages(&api)?;
    let kind = HeaderValue::from_static("application/json");
    let headers = [FRESH, (header::CONTENT_TYPE, kind)];
    Ok((headers, pages.document.clone()).into_response())
}

/// `GET /docs`
pub(super) async fn docs(State(api): Gate) -> Result<Response, ApiError> {
    let pages = pages(&api)?;
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    let headers = [
        FRESH,
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, pages.policy.clone()),
    ];
    Ok((headers, pages.page.clone()).into_response())
}

fn pages(api: &Shared) -> Result<&Pages, ApiError> {
    let server = match api.door {
        Door::Public => api.published.gateway.as_str(),
        Door::Admin => "/",
    };
    api.description.pages(server).map_err(ApiError::internal)
}
