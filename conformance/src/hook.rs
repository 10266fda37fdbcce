//! A webhook of ours: a small plain HTTP server that records what it is sent.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// A call comes within this.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request that came.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Called {
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(|it| it.to_str().ok());
        value.unwrap_or_default()
    }
}

/// What it answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reply(pub(crate) u16, pub(crate) &'static str);

/// A server that listens until it is dropped.
pub(crate) struct Hook {
    pub(crate) url: String,
    calls: mpsc::UnboundedReceiver<Called>,
    _listening: JoinSet<()>,
}

/// What every connection works with.
#[derive(Clone)]
struct Desk {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    calls: mpsc::UnboundedSender<Called>,
}

impl Hook {
    /// Answers one after the other; when there is none left, 200 with `{}`.
    pub(crate) async fn open(host: IpAddr, replies: &[Reply]) -> Result<Self> {
        let listener = TcpListener::bind((host, 0)).await;
        let listener = listener.with_context(|| format!("--webhook-host {host}"))?;
        let url = format!("http://{}/in", listener.local_addr()?);
        let (sender, calls) = mpsc::unbounded_channel();
        let desk = Desk {
            replies: Arc::new(Mutex::new(replies.iter().copied().collect())),
            calls: sender,
        };
        let mut listening = JoinSet::new();
        listening.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(desk.clone().serve(stream));
            }
        });
        Ok(Self {
            url,
            calls,
            _listening: listening,
        })
    }

    /// The next call.
    pub(crate) async fn call(&mut self) -> Result<Called> {
        match tokio::time::timeout(PATIENCE, self.calls.recv()).await {
            Ok(Some(called)) => Ok(called),
            _ => bail!("the webhook was not called in {} s", PATIENCE.as_secs()),
        }
    }

    /// Whether calls came that nobody has looked at.
    pub(crate) fn has_more(&self) -> bool {
        !self.calls.is_empty()
    }
}

impl Desk {
    async fn serve(self, stream: TcpStream) {
        let service = service_fn(move |request| self.clone().answer(request));
        // A connection that breaks shows as a call that did not come.
        let _ = http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
        let (head, body) = request.into_parts();
        let called = Called {
            method: head.method,
            headers: head.headers,
            body: body.collect().await?.to_bytes(),
        };
        let next = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        let Reply(status, text) = { next }.pop_front().unwrap_or(Reply(200, "{}"));
        let _ = self.calls.send(called);
        let mut answer = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
        *answer.status_mut() = StatusCode::from_u16(status)?;
        Ok(answer)
    }
}
