//! A WebSocket client that may break every rule: bytes over TLS.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::pki::{Issued, Versions, server_config};
use super::{Agent, Daemon};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The key of every handshake, and its proof.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const PROOF: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Bytes both ways.
trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A connection, from either end.
pub struct Raw {
    stream: Box<dyn Io>,
    read: Vec<u8>,
    /// Clients mask what they send.
    masks: bool,
}

/// An agent that is connected to.
pub struct Dialled {
    listener: TcpListener,
    tls: TlsAcceptor,
}

impl Dialled {
    /// An agent with this certificate.
    pub async fn start(issued: &Issued) -> Self {
        let mut config = (*server_config(issued, Versions::Tls13)).clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            tls: TlsAcceptor::from(Arc::new(config)),
        }
    }

    pub fn url(&self) -> String {
        let port = self.listener.local_addr().unwrap().port();
        format!("wss://127.0.0.1:{port}/amtp?agent=1")
    }

    /// The next connection with the head of its request, not answered yet.
    pub async fn called(&self) -> (Raw, String) {
        let (tcp, _) = timeout(PATIENCE, self.listener.accept())
            .await
            .unwrap()
            .unwrap();
        let mut raw = Raw {
            stream: Box::new(self.tls.accept(tcp).await.unwrap()),
            read: Vec::new(),
            masks: false,
        };
        let head = raw.head().await;
        (raw, head)
    }

    /// The next connection, whose handshake is answered; the head of its request.
    pub async fn answered(&self) -> (Raw, String) {
        let (mut raw, head) = self.called().await;
        let key = value(&head, "sec-websocket-key");
        let proof = [key.as_str(), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, proof.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: amtp.v1\r\n\r\n",
            STANDARD.encode(hash)
        );
        raw.send(answer.as_bytes()).await;
        (raw, head)
    }
}

/// The value of a header in a head.
pub fn value(head: &str, name: &str) -> String {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    let found = lines.find(|(it, _)| it.eq_ignore_ascii_case(name));
    found.map_or_else(String::new, |(_, value)| value.trim().to_owned())
}

/// What a gateway sent.
#[derive(Debug, PartialEq)]
pub enum Sent {
    /// A frame: its first byte and its payload.
    Frame(u8, Vec<u8>),
    /// The end of the connection.
    End,
}

/// The answer to a handshake.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub raw: Raw,
}

impl Raw {
    /// A connection over TLS.
    #[allow(clippy::disallowed_methods, reason = "a client of the outside world")]
    pub async fn connect(authority: &Path, port: u16) -> Self {
        let mut roots = RootCertStore::empty();
        for one in CertificateDer::pem_file_iter(authority).unwrap() {
            roots.add(one.unwrap()).unwrap();
        }
        let config =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
        let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        Self {
            stream: Box::new(connector.connect(name, tcp).await.unwrap()),
            read: Vec::new(),
            masks: true,
        }
    }

    /// A connection to a gateway.
    pub async fn to(daemon: &Daemon) -> Self {
        let authority = daemon.folder.path().join("gateway/tls/cert.pem");
        Self::connect(&authority, daemon.port()).await
    }

    /// The handshake for `path`, with more headers.
    pub async fn shake_hands(daemon: &Daemon, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut raw = Self::to(daemon).await;
        let mut head = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
        );
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        raw.send(format!("{head}\r\n").as_bytes()).await;
        let head = raw.head().await;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        if status == 101 {
            assert!(head.contains(PROOF), "{head}");
        }
        Answer { status, head, raw }
    }

    /// A connection with an open session; its welcome.
    pub async fn session(daemon: &Daemon, agent: &Agent, query: &str) -> (Self, Value) {
        let bearer = format!("Bearer {}", agent.key);
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Sec-WebSocket-Protocol", "amtp.v1"),
        ];
        let path = format!("/v1/ws?{query}");
        let Answer {
            status,
            head,
            mut raw,
        } = Self::shake_hands(daemon, &path, &headers).await;
        assert_eq!(status, 101, "{head}");
        let welcome = raw.hear_of("welcome").await;
        (raw, welcome)
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).await.unwrap();
    }

    pub async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Sends a frame.
    pub async fn frame(&mut self, first: u8, payload: &[u8]) {
        let bytes = match self.masks {
            true => frame(first, payload),
            false => plain(first, payload),
        };
        self.send(&bytes).await;
    }

    /// Says something.
    pub async fn say(&mut self, value: &Value) {
        self.frame(0x81, value.to_string().as_bytes()).await;
    }

    /// Says something and hears the answer to it.
    pub async fn ask(&mut self, mut value: Value) -> Value {
        value["ref"] = json!("asked");
        self.say(&value).await;
        loop {
            let heard = self.hear().await;
            if heard["ref"] == "asked" {
                return heard;
            }
        }
    }

    /// The next frame of JSON; pings are answered.
    pub async fn hear(&mut self) -> Value {
        loop {
            match self.next().await {
                Sent::Frame(0x81, text) => return serde_json::from_slice(&text).unwrap(),
                Sent::Frame(0x89, payload) => self.frame(0x8a, &payload).await,
                Sent::Frame(0x8a, _) => {}
                other => panic!("no text: {}", shown(&other)),
            }
        }
    }

    /// The next frame of this type; others are passed over.
    pub async fn hear_of(&mut self, kind: &str) -> Value {
        loop {
            let heard = self.hear().await;
            if heard["type"] == kind {
                return heard;
            }
        }
    }

    /// The next message pushed, acknowledged.
    pub async fn message(&mut self) -> Value {
        let heard = self.hear_of("message").await;
        let message = heard["message"].clone();
        self.say(&json!({ "type": "ack", "ids": [message["message_id"]] }))
            .await;
        message
    }

    /// The code and reason with which the gateway ends the connection.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.next().await {
                Sent::Frame(0x88, payload) if payload.is_empty() => return (0, String::new()),
                Sent::Frame(0x88, payload) => {
                    let code = u16::from_be_bytes([payload[0], payload[1]]);
                    return (code, String::from_utf8(payload[2..].to_vec()).unwrap());
                }
                Sent::Frame(..) => {}
                Sent::End => panic!("no close frame"),
            }
        }
    }

    /// What comes next.
    pub async fn next(&mut self) -> Sent {
        timeout(PATIENCE, self.read_frame()).await.unwrap()
    }

    /// Whether nothing comes for a while.
    pub async fn is_quiet(&mut self, time: Duration) -> bool {
        timeout(time, self.read_frame()).await.is_err()
    }

    async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.read.windows(4).position(|it| it == b"\r\n\r\n") {
                let rest = self.read.split_off(end + 4);
                let head = std::mem::replace(&mut self.read, rest);
                return String::from_utf8(head).unwrap();
            }
            assert!(self.fill().await, "no answer");
        }
    }

    async fn read_frame(&mut self) -> Sent {
        loop {
            if let Some((first, start, length)) = self.whole() {
                let mut payload = self.read[start..start + length].to_vec();
                if self.is_masked() {
                    let mask = self.read[start - 4..start].to_vec();
                    let pairs = payload.iter_mut().zip(mask.iter().cycle());
                    pairs.for_each(|(byte, key)| *byte ^= key);
                }
                self.read.drain(..start + length);
                return Sent::Frame(first, payload);
            }
            if !self.fill().await {
                return Sent::End;
            }
        }
    }

    /// The first byte of a frame that is here, where its payload begins, and its length.
    fn whole(&self) -> Option<(u8, usize, usize)> {
        let bytes = &self.read;
        let (start, length) = match *bytes.get(1)? & 0x7f {
            126 => (
                4,
                u64::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?])),
            ),
            127 => (
                10,
                u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()),
            ),
            length => (2, u64::from(length)),
        };
        let length = usize::try_from(length).unwrap();
        let start = start + if self.is_masked() { 4 } else { 0 };
        (bytes.len() >= start + length).then_some((bytes[0], start, length))
    }

    /// Whether the frame that comes is masked, as it must be from a client alone.
    fn is_masked(&self) -> bool {
        let masked = self.read.get(1).is_some_and(|byte| byte & 0x80 != 0);
        assert!(
            self.read.len() < 2 || masked != self.masks,
            "masked: {masked}"
        );
        masked
    }

    async fn fill(&mut self) -> bool {
        let read = self.stream.read_buf(&mut self.read).await;
        matches!(read, Ok(1..))
    }
}

/// A masked frame with this first byte.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0xa1, 0x02, 0xf3, 0x44];
    let mut bytes = head(first, payload.len());
    bytes.extend(MASK);
    let masked = payload.iter().zip(MASK.iter().cycle());
    bytes.extend(masked.map(|(byte, key)| byte ^ key));
    bytes
}

/// A frame as a server sends it.
fn plain(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(first, payload.len());
    bytes[1] &= 0x7f;
    bytes.extend(payload);
    bytes
}

/// The head of a frame up to its mask.
pub fn head(first: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..=125 => bytes.push(0x80 | u8::try_from(length).unwrap()),
        126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes
}

fn shown(sent: &Sent) -> String {
    match sent {
        Sent::Frame(first, payload) => {
            format!("{first:#x} {}", String::from_utf8_lossy(payload))
        }
        Sent::End => "the end".to_owned(),
    }
}
