//! A mail server that says what it is told to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// What the server hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    Connected,
    Line(String),
    Mail(String),
}

/// What it does then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Say {
    Reply(String),
    /// Says this, and goes away.
    Last(String),
    /// Says this and shakes hands.
    Tls(String),
    Nothing,
}

pub(super) fn say(text: &str) -> Option<Say> {
    Some(Say::Reply(format!("{text}\r\n")))
}

type Script = Box<dyn FnMut(&Heard) -> Option<Say> + Send>;

#[derive(Default)]
struct Told {
    script: Option<Script>,
    heard: Vec<Heard>,
    encrypted: usize,
}

/// A server on a free port. What the script leaves to it, it does as any server does.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    told: Arc<Mutex<Told>>,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(super) async fn start(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let told: Arc<Mutex<Told>> = Arc::default();
        let mut tasks = JoinSet::new();
        let known = told.clone();
        tasks.spawn(async move {
            let mut talks = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let talk = Talk {
                    told: known.clone(),
                    tls: tls.clone(),
                };
                talks.spawn(async move { talk.start(tcp).await });
            }
        });
        Self {
            address,
            told,
            _tasks: tasks,
        }
    }

    pub(super) fn script(&self, script: impl FnMut(&Heard) -> Option<Say> + Send + 'static) {
        self.told.lock().unwrap().script = Some(Box::new(script));
    }

    pub(super) fn heard(&self) -> Vec<Heard> {
        self.told.lock().unwrap().heard.clone()
    }

    pub(super) fn mails(&self) -> Vec<String> {
        let mail = |heard: Heard| match heard {
            Heard::Mail(text) => Some(text),
            _ => None,
        };
        self.heard().into_iter().filter_map(mail).collect()
    }

    /// The lines that begin with a word.
    pub(super) fn lines(&self, start: &str) -> Vec<String> {
        let line = |heard: Heard| match heard {
            Heard::Line(text) if text.starts_with(start) => Some(text),
            _ => None,
        };
        self.heard().into_iter().filter_map(line).collect()
    }

    pub(super) fn handshakes(&self) -> usize {
        self.told.lock().unwrap().encrypted
    }
}

struct Talk {
    told: Arc<Mutex<Told>>,
    tls: Option<TlsAcceptor>,
}

trait Line: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Line for T {}

impl Talk {
    async fn start(&self, tcp: tokio::net::TcpStream) {
        let mut line: Box<dyn Line> = Box::new(tcp);
        let greeting = self.hear(Heard::Connected);
        let Some(mut bytes) = answer(&mut line, greeting).await else {
            return;
        };
        loop {
            let Some(text) = read_until(&mut line, &mut bytes, b"\r\n").await else {
                return;
            };
            let say = self.hear(Heard::Line(text));
            let (say, upgrade) = match say {
                Say::Tls(text) => (Say::Reply(text), true),
                other => (other, false),
            };
            let begins_mail = matches!(&say, Say::Reply(text) if text.starts_with("354"));
            if answer(&mut line, say).await.is_none() {
                return;
            }
            if upgrade && let Some(tls) = &self.tls {
                let Ok(secured) = tls.accept(line).await else {
                    return;
                };
                self.told.lock().unwrap().encrypted += 1;
                line = Box::new(secured);
                bytes.clear();
            }
            if begins_mail {
                let Some(mail) = read_until(&mut line, &mut bytes, b"\r\n.\r\n").await else {
                    return;
                };
                let say = self.hear(Heard::Mail(mail));
                if answer(&mut line, say).await.is_none() {
                    return;
                }
            }
        }
    }

    fn hear(&self, heard: Heard) -> Say {
        let mut told = self.told.lock().unwrap();
        told.heard.push(heard.clone());
        let scripted = told.script.as_mut().and_then(|script| script(&heard));
        scripted.unwrap_or_else(|| self.usual(&heard))
    }

    fn usual(&self, heard: &Heard) -> Say {
        let text = match heard {
            Heard::Connected => "220 mx.b.test ESMTP",
            Heard::Mail(_) => "250 2.0.0 taken",
            Heard::Line(line) => match line.split([' ', ':']).next().unwrap_or_default() {
                "EHLO" if self.tls.is_some() => "250-mx.b.test\r\n250-STARTTLS\r\n250 SIZE 100000",
                "EHLO" => "250-mx.b.test\r\n250 SIZE 100000",
                "STARTTLS" => return Say::Tls("220 2.0.0 go on\r\n".to_owned()),
                "DATA" => "354 go on",
                "QUIT" => return Say::Last("221 2.0.0 bye\r\n".to_owned()),
                _ => "250 2.0.0 fine",
            },
        };
        Say::Reply(format!("{text}\r\n"))
    }
}

/// Does what is said; nothing where the talk is over.
async fn answer(line: &mut Box<dyn Line>, say: Say) -> Option<Vec<u8>> {
    let (text, goes_on) = match say {
        Say::Reply(text) | Say::Tls(text) => (text, true),
        Say::Last(text) => (text, false),
        Say::Nothing => (String::new(), true),
    };
    line.write_all(text.as_bytes()).await.ok()?;
    line.flush().await.ok()?;
    goes_on.then(Vec::new)
}

async fn read_until(line: &mut Box<dyn Line>, bytes: &mut Vec<u8>, end: &[u8]) -> Option<String> {
    loop {
        if let Some(at) = bytes.windows(end.len()).position(|it| it == end) {
            let text = String::from_utf8_lossy(&bytes[..at]).into_owned();
            bytes.drain(..at + end.len());
            return Some(text);
        }
        let mut more = [0; 4_096];
        match line.read(&mut more).await {
            Ok(count) if count > 0 => bytes.extend_from_slice(&more[..count]),
            _ => return None,
        }
    }
}

/// A certificate for `mx.b.test` by an authority, whose certificate in PEM comes second.
pub(super) fn certificate() -> (TlsAcceptor, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = rcgen::CertifiedIssuer::self_signed(params, key).unwrap();
    let leaf_key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["mx.b.test".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&leaf_key, &authority).unwrap();
    let chain: Vec<CertificateDer<'static>> = vec![leaf.der().clone()];
    let secret = PrivateKeyDer::try_from(leaf_key.serialize_der()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), authority.pem())
}
