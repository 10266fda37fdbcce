//! A proxy between clients and the gateway under test that has one flaw, or none.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use hyper::Response;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::flaw::Flaw;
use crate::bench::{Arrived, Bench, Body, Face, Tls, answered, serve};
use crate::client::{Answer, Call, Client, Offer};
use crate::subject::Subject;

/// Headers that belong to one connection.
const OWN: [&str; 5] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
];

/// A proxy that runs until it is dropped.
pub(super) struct Front {
    pub(super) url: String,
    _running: JoinSet<()>,
}

struct Desk {
    flaw: Option<Flaw>,
    gateway: Client,
    url: String,
    tls: Arc<ServerConfig>,
    /// Messages handed in so far.
    posts: AtomicUsize,
}

impl Front {
    pub(super) async fn open(subject: &Subject, bench: &Bench, flaw: Option<Flaw>) -> Result<Self> {
        let listener = TcpListener::bind((bench.ip(), 0)).await?;
        let url = format!("https://localhost:{}", listener.local_addr()?.port());
        let tls = match flaw {
            Some(Flaw::OldTls) => Tls::Old,
            Some(Flaw::NoHttp2) => Tls::Http1,
            _ => Tls::Good,
        };
        let desk = Arc::new(Desk {
            flaw,
            gateway: Client::new(subject, Offer::Http2)?,
            url: subject.url.clone(),
            tls: bench.authority.server("localhost", tls)?,
            posts: AtomicUsize::new(0),
        });
        let mut running = JoinSet::new();
        running.spawn(serve(listener, desk as Arc<dyn Face>));
        Ok(Self {
            url,
            _running: running,
        })
    }
}

impl Face for Desk {
    fn tls(&self, _host: &str) -> Option<Arc<ServerConfig>> {
        Some(Arc::clone(&self.tls))
    }

    fn answer(
        self: Arc<Self>,
        request: Arrived,
    ) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        Box::pin(async move { self.carried(request).await })
    }
}

impl Desk {
    async fn carried(&self, mut request: Arrived) -> Response<Body> {
        let is_post = request.method == "POST" && request.path.starts_with("/v1/messages");
        let number = match is_post {
            true => self.posts.fetch_add(1, Ordering::Relaxed) + 1,
            false => 0,
        };
        if let Some(flaw) = self.flaw {
            if let Some(made_up) = flaw.instead(&request, number) {
                return shown(made_up);
            }
            flaw.bend(&mut request);
        }
        let mut answer = match self.forwarded(&request).await {
            Ok(answer) => answer,
            Err(error) => return answered(502, &[], format!("{error:#}")),
        };
        if let Some(flaw) = self.flaw {
            if let Some(again) = flaw.again(&request) {
                // What becomes of the second copy is the flaw.
                let _ = self.forwarded(&again).await;
            }
            flaw.twist(&request, &mut answer);
        }
        shown(answer)
    }

    async fn forwarded(&self, request: &Arrived) -> Result<Answer> {
        let url = format!("{}{}", self.url, request.path);
        let mut call = Call::new(request.method.clone(), url).body(request.body.clone());
        for (name, value) in &request.headers {
            if let (false, Ok(value)) = (OWN.contains(&name.as_str()), value.to_str()) {
                call = call.header(name.as_str(), value);
            }
        }
        self.gateway.send(call).await
    }
}

fn shown(answer: Answer) -> Response<Body> {
    let headers: Vec<(&str, String)> = answer
        .headers
        .iter()
        .filter(|(name, _)| !OWN.contains(&name.as_str()))
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?.to_owned())))
        .collect();
    answered(answer.status.as_u16(), &headers, answer.text.clone())
}
