//! Who may come in, by the head of the request alone.
//!
//! An agent's key or a token means a submission, its absence a peer; what it is indeed is found out after the
//! body was read. Routes of operators and probes are not asked. A refused body is not read: the
//! HTTP library resets an HTTP/2 stream and gives its window back, and closes an HTTP/1.1
//! connection, which then lingers.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{MatchedPath, Request};
use http::{Extensions, HeaderMap, Method};

use super::extract::bearer;
use crate::admission::{Admission, Class, Entry, Presence, Shed};
use crate::auth::KeyKind;

/// The entry of a request, for whoever handles it to take.
#[derive(Debug, Clone)]
struct Ticket(Arc<Mutex<Option<Entry>>>);

/// Lets a request in, or not; nothing is given back for one that is not asked.
pub(super) fn admit(
    admission: Option<&Admission>,
    request: &mut Request,
) -> Result<Option<Presence>, Shed> {
    let (Some(admission), Some(class)) = (admission, class(request)) else {
        return Ok(None);
    };
    let (presence, entry) = admission.enter(class)?;
    let ticket = Ticket(Arc::new(Mutex::new(Some(entry))));
    request.extensions_mut().insert(ticket);
    Ok(Some(presence))
}

/// Takes the entry out of a request: to hand it on with the message, or to drop it before waiting.
pub(super) fn entry(extensions: &Extensions) -> Option<Entry> {
    let ticket = extensions.get::<Ticket>()?;
    ticket
        .0
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take()
}

fn class(request: &Request) -> Option<Class> {
    let route = request.extensions().get::<MatchedPath>()?.as_str();
    if !route.starts_with("/v1/") || route.starts_with("/v1/admin/") {
        return None;
    }
    match (request.method(), route) {
        (&Method::GET | &Method::HEAD, _) => Some(Class::Read),
        (&Method::DELETE, _) => Some(Class::Drain),
        (_, "/v1/inbox/{address}/ack" | "/v1/inbox/{address}/nack") => Some(Class::Drain),
        (
            _,
            "/v1/messages" | "/v1/messages/batch" | "/v1/topics/{name}/messages" | "/v1/broadcast",
        ) => Some(by_key(request.headers())),
        _ => Some(Class::Read),
    }
}

fn by_key(headers: &HeaderMap) -> Class {
    match bearer(headers) {
        Some(Ok(key)) if KeyKind::Agent.begins(key) || is_token(key) => Class::Submission,
        _ => Class::Verified,
    }
}

/// A token of ours or of an issuer, good or not: peers show none.
fn is_token(credential: &str) -> bool {
    credential.starts_with("ey")
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::any;
    use tower::ServiceExt as _;

    use super::*;

    async fn class_of(method: &str, path: &str, authorization: Option<&str>) -> Option<Class> {
        const ROUTES: [&str; 8] = [
            "/health",
            "/v1/messages",
            "/v1/messages/batch",
            "/v1/messages/{id}",
            "/v1/inbox/{address}",
            "/v1/inbox/{address}/ack",
            "/v1/inbox/{address}/{message_id}",
            "/v1/admin/agents",
        ];
        let seen = Arc::new(Mutex::new(None));
        let router = ROUTES.iter().fold(Router::new(), |router, route| {
            let seen = seen.clone();
            let note = move |request: Request| async move {
                *seen.lock().unwrap() = class(&request);
            };
            router.route(route, any(note))
        });
        let mut request = Request::builder().method(method).uri(path);
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        router
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        Arc::into_inner(seen).unwrap().into_inner().unwrap()
    }

    #[tokio::test]
    async fn the_head_tells_what_a_request_is() {
        let agent = Some("Bearer ak_0123456789abcdef_x");
        let table = [
            ("POST", "/v1/messages", agent, Some(Class::Submission)),
            ("POST", "/v1/messages/batch", agent, Some(Class::Submission)),
            ("POST", "/v1/messages", None, Some(Class::Verified)),
            (
                "POST",
                "/v1/messages",
                Some("Bearer eyJhbGciOiJFUzI1NiJ9.e30.x"),
                Some(Class::Submission),
            ),
            (
                "POST",
                "/v1/messages",
                Some("Basic cGVlcg=="),
                Some(Class::Verified),
            ),
            (
                "POST",
                "/v1/messages",
                Some("Bearer of-a-proxy"),
                Some(Class::Verified),
            ),
            ("GET", "/v1/messages", agent, Some(Class::Read)),
            ("GET", "/v1/inbox/a@b.test", agent, Some(Class::Read)),
            ("DELETE", "/v1/messages/1", agent, Some(Class::Drain)),
            ("POST", "/v1/inbox/a@b.test/ack", agent, Some(Class::Drain)),
            ("DELETE", "/v1/inbox/a@b.test/1", agent, Some(Class::Drain)),
            ("GET", "/health", None, None),
            ("GET", "/v1/admin/agents", agent, None),
            ("POST", "/v1/admin/agents", None, None),
            ("GET", "/nowhere", None, None),
        ];
        for (method, path, authorization, expected) in table {
            let class = class_of(method, path, authorization).await;
            assert_eq!(class, expected, "{method} {path} {authorization:?}");
        }
    }
}
