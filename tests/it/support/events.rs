//! A reader of server-sent events.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{Agent, Daemon};

/// The time for an event.
/// On a database that gateways share, what a killed one had is free after its time there.
const SOON: Duration = Duration::from_secs(60);

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub id: String,
    pub name: String,
    pub data: Value,
}

impl Event {
    /// The id of the message in it.
    pub fn message_id(&self) -> String {
        assert_eq!(self.name, "message", "{self:?}");
        self.data["message_id"].as_str().unwrap().to_owned()
    }
}

/// An open stream of an agent's mail. Dropped, its connection is cut.
pub struct Events {
    body: Incoming,
    text: String,
    pub greeting: Value,
}

impl Events {
    /// Opens a stream; `query` begins with a question mark or is empty.
    pub async fn open(
        daemon: &Daemon,
        agent: &Agent,
        query: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, (StatusCode, Value)> {
        let mut request = Request::get(format!("/v1/inbox/{}/stream{query}", agent.address))
            .header("host", "localhost")
            .header("authorization", format!("Bearer {}", agent.key));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::default()).unwrap();
        let mut events = Self::ask(daemon, request).await?;
        let first = events.next().await;
        assert_eq!(first.name, "session");
        events.greeting = first.data;
        Ok(events)
    }

    /// The stream that a request opens.
    pub async fn ask(
        daemon: &Daemon,
        request: Request<Full<Bytes>>,
    ) -> Result<Self, (StatusCode, Value)> {
        let stream = connect(daemon).await;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        #[allow(clippy::disallowed_methods, reason = "it ends with the stream")]
        tokio::spawn(connection);
        let answer = sender.send_request(request).await.unwrap();
        let status = answer.status();
        let is_stream = answer.headers()["content-type"] == "text/event-stream";
        if status != StatusCode::OK || !is_stream {
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            return Err((status, serde_json::from_slice(&body).unwrap()));
        }
        Ok(Self {
            body: answer.into_body(),
            text: String::new(),
            greeting: Value::Null,
        })
    }

    /// The next event; comments are passed over.
    pub async fn next(&mut self) -> Event {
        let event = timeout(SOON, self.try_next()).await;
        event.expect("an event in time").expect("an open stream")
    }

    /// The next event, or nothing where the stream ends.
    pub async fn try_next(&mut self) -> Option<Event> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let event = event(block);
                self.text = rest.to_owned();
                if let Some(event) = event {
                    return Some(event);
                }
            }
            let frame = self.body.frame().await?.ok()?;
            let bytes = frame.into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    /// The ids of the next messages.
    pub async fn messages(&mut self, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        while ids.len() < count {
            ids.push(self.next().await.message_id());
        }
        ids
    }
}

fn event(block: &str) -> Option<Event> {
    let mut data = Vec::new();
    let mut event = Event {
        id: String::new(),
        name: "message".to_owned(),
        data: Value::Null,
    };
    for line in block.lines() {
        match line.split_once(": ") {
            Some(("id", id)) => id.clone_into(&mut event.id),
            Some(("event", name)) => name.clone_into(&mut event.name),
            Some(("data", line)) => data.push(line),
            _ => {}
        }
    }
    if data.is_empty() {
        return None;
    }
    event.data = serde_json::from_str(&data.join("\n")).unwrap();
    Some(event)
}

async fn connect(daemon: &Daemon) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    let certificate = daemon.folder.path().join("gateway/tls/cert.pem");
    let authority = CertificateDer::from_pem_file(certificate).unwrap();
    roots.add(authority).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    #[allow(clippy::disallowed_methods, reason = "a client of our own gateway")]
    let stream = TcpStream::connect(("127.0.0.1", daemon.port()))
        .await
        .unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.unwrap()
}
