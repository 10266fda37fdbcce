//! The ceiling: a bare server of the same stack, in a process of its own as the gateway is.
//!
//! It reads the body and parses it as far as a gateway must (members by name, the payload as it
//! stands), looks the bearer token up and answers with a receipt of a few members. It does nothing
//! else: no limits, no metrics, no ids, no disk. Windows are as large as the gateway's.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use clap::Args;
use hyper::server::conn::http2::Builder;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::daemon::Agent;
use crate::process::Process;

const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// A running bare server. It ends with this value, and with this program.
pub(crate) struct Bare {
    process: Child,
    address: SocketAddr,
    _alive: ChildStdin,
}

impl Bare {
    /// Starts one with this certificate that knows these agents.
    pub(crate) fn start(certificate: &Path, key: &Path, agents: &[Agent]) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("bare")
            .args([certificate, key])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut input = process.stdin.take().context("no input")?;
        for agent in agents {
            writeln!(input, "{}", agent.authorization)?;
        }
        writeln!(input)?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("no output")?).read_line(&mut line)?;
        Ok(Self {
            process,
            address: line.trim().parse().context("the bare server ended")?,
            _alive: input,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn process(&self) -> Process {
        Process::new(self.process.id())
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The bare server itself
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    certificate: PathBuf,
    key: PathBuf,
}

/// Takes the tokens it knows from standard input, says where it listens, and serves until the input ends.
#[allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "its starter reads it; no part of the gateway"
)]
pub(crate) async fn execute(options: Options) -> Result<()> {
    let mut tokens = HashSet::new();
    for line in std::io::stdin().lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        tokens.insert(line);
    }
    let acceptor = acceptor(&options)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let app = Router::new()
        .route("/v1/messages", post(answer))
        .with_state(Arc::new(tokens));
    let (ended, end) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        // Nothing more comes: the starter holds the other end until it ends.
        std::io::stdin().lines().for_each(drop);
        drop(ended);
    });
    let serving = async {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(serve(tcp, acceptor.clone(), app.clone()));
        }
    };
    tokio::select! {
        () = serving => {}
        _ = end => {}
    }
    Ok(())
}

fn acceptor(options: &Options) -> Result<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(&options.certificate)?.collect::<Result<_, _>>()?;
    let mut tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(&options.key)?)?;
    tls.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(tls)))
}

async fn serve(tcp: TcpStream, acceptor: TlsAcceptor, app: Router) {
    drop(tcp.set_nodelay(true));
    let Ok(stream) = acceptor.accept(tcp).await else {
        return;
    };
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let service = TowerToHyperService::new(app);
    drop(
        builder
            .serve_connection(TokioIo::new(stream), service)
            .await,
    );
}

/// What is read of a message.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    sender: Cow<'a, str>,
    #[serde(borrow)]
    recipients: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    payload: &'a RawValue,
}

#[derive(Serialize)]
struct Receipt {
    status: &'static str,
    recipients: usize,
}

async fn answer(
    State(tokens): State<Arc<HashSet<String>>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, axum::Json<Receipt>) {
    let known = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| tokens.contains(value));
    let read: Result<Message, _> = serde_json::from_slice(&body);
    let (code, status, recipients) = match read {
        Ok(it) if known && it.sender.contains('@') && !it.payload.get().is_empty() => {
            (StatusCode::ACCEPTED, "accepted", it.recipients.len())
        }
        _ => (StatusCode::BAD_REQUEST, "refused", 0),
    };
    (code, axum::Json(Receipt { status, recipients }))
}
