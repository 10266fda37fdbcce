//! Somebody who asks a gateway, and holds each answer against its document.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, Response};
use serde_json::Value;

use super::Home;
use super::book::Book;
use crate::support::caller::Caller;

/// Somebody who asks, and looks up each answer.
pub struct Reader {
    pub caller: Caller,
    pub book: Book,
    pub admin: String,
    asked: u16,
}

impl Reader {
    pub async fn of(home: &Home) -> Self {
        let (caller, admin) = (home.daemon.caller(), home.daemon.admin_key().to_owned());
        let asked = caller.ask(Method::GET, "/openapi.json", None, None).await;
        let document = serde_json::from_slice(asked.unwrap().body()).unwrap();
        Self {
            caller,
            book: Book::of(document),
            admin,
            asked: 0,
        }
    }

    /// Sends a request as it is.
    pub async fn send(
        &mut self,
        (method, path): (Method, &str),
        key: Option<&str>,
        (kind, body): (&str, String),
    ) -> Response<Bytes> {
        let is_staff =
            path.starts_with("/v1/admin") || (&method, path) == (&Method::POST, "/v1/topics");
        let port = match is_staff {
            true => self.caller.admin,
            false => self.caller.https,
        };
        self.asked += 1;
        let [high, low] = self.asked.to_be_bytes();
        let mut request = Request::builder()
            .method(method.clone())
            .header("x-forwarded-for", format!("127.1.{high}.{low}"))
            .uri(format!("https://localhost:{port}{path}"));
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        let sent = Full::new(Bytes::from(body.clone()));
        let answer = self.caller.client.send(request.body(sent).unwrap()).await;
        let answer = answer.unwrap();
        self.book.check(&method, path, &answer);
        if answer.status().is_success() && kind == "application/json" {
            self.book.check_accepted(&method, path, &body);
        }
        answer
    }

    /// A request with a JSON body, or none, that is to be answered so.
    pub async fn ask(&mut self, what: &str, key: &str, body: Value, status: u16) -> Value {
        let (method, path) = what.split_once(' ').unwrap();
        let written = match body.is_null() {
            true => ("", String::new()),
            false => ("application/json", body.to_string()),
        };
        let asked = (method.parse().unwrap(), path);
        let answer = self.send(asked, Some(key), written).await;
        let value: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        assert_eq!(answer.status(), status, "{what} {value}");
        value
    }

    pub async fn staff(&mut self, what: &str, body: Value, status: u16) -> Value {
        let admin = self.admin.clone();
        self.ask(what, &admin, body, status).await
    }
}

/// The text of a member.
pub fn word(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
