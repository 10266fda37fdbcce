//! Somebody who talks to a gateway.

use std::time::Duration;

use amtpd::endpoint::http::route_table;
use amtpd::net::HttpsClient;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, Response};
use serde_json::Value;
use tokio::time::timeout;

/// The time for an answer. A client whose gateway dies while several requests make a connection
/// may leave one of them waiting for ever.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A client of one gateway, which may come and go. Cloning is cheap.
#[derive(Clone)]
pub struct Caller {
    pub client: HttpsClient,
    /// The gateway's name; the client knows where that is.
    pub host: String,
    pub https: u16,
    pub admin: u16,
}

impl Caller {
    /// A request that may find nobody, or is left alone.
    pub async fn ask_soon(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Option<Value>,
    ) -> Result<Response<Bytes>, String> {
        let asked = timeout(PATIENCE, self.ask(method, path, key, body));
        asked.await.map_err(|error| error.to_string())?
    }

    /// A request that may find nobody.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Option<Value>,
    ) -> Result<Response<Bytes>, String> {
        // What only operators may stands behind their own door.
        let is_staff = route_table()
            .iter()
            .any(|row| row.access.is_for_staff() && row.path == path && row.method == method);
        let port = match is_staff || path.starts_with("/v1/admin") {
            true => self.admin,
            false => self.https,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("https://{}:{port}{path}", self.host));
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        let answer = self.client.send(request).await;
        answer.map_err(|error| error.to_string())
    }
}
