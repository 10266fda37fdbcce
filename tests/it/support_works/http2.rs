//! What the scripted peer says on the wire of HTTP/2.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::peer::{Meeting, message};
use crate::support::behaviour::Behaviour;

const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// Preface, empty SETTINGS, and `GET / HTTP/2` of `peer.test` on stream 1.
const REQUEST: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
    \0\0\0\x04\0\0\0\0\0\
    \0\0\x0e\x01\x05\0\0\0\x01\x82\x87\x84\x41\x09peer.test\0\0\0\x04\x01\0\0\0\0";

async fn connect(meeting: &Meeting) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(meeting.ca.pem_path()).unwrap();
    roots.add(authority).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    #[allow(clippy::disallowed_methods, reason = "a client of our own server")]
    let stream = TcpStream::connect(meeting.peer.address()).await.unwrap();
    let name = ServerName::try_from("peer.test").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.unwrap()
}

/// The types of the frames in some bytes, which must be whole frames.
fn frames(mut bytes: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    while let [a, b, c, kind, rest @ ..] = bytes {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        types.push(*kind);
        bytes = &rest[5 + length..];
    }
    assert!(bytes.is_empty());
    types
}

#[tokio::test]
async fn a_flooded_client_gets_a_thousand_settings_and_silence() {
    let meeting = Meeting::new();
    meeting.peer.answer(Behaviour::SettingsFlood);
    let mut stream = connect(&meeting).await;
    let mut flood = vec![0; 1000 * 15];
    stream.read_exact(&mut flood).await.unwrap();
    assert_eq!(frames(&flood), [SETTINGS; 1000]);
    stream.write_all(REQUEST).await.unwrap();
    let patience = Duration::from_millis(200);
    timeout(patience, stream.read_u8()).await.unwrap_err();
    assert_eq!(meeting.send(&message()).await.unwrap().status(), 202);
}

#[tokio::test]
async fn an_old_connection_is_closed_for_the_flood_of_the_next() {
    let meeting = Meeting::new();
    let client = meeting.client();
    let sent = meeting.send_by(&client, &message()).await.unwrap();
    assert_eq!(sent.status(), 202);
    meeting.peer.always(Behaviour::SettingsFlood);
    let patience = Duration::from_secs(1);
    let sent = timeout(patience, meeting.send_by(&client, &message())).await;
    assert!(!matches!(sent, Ok(Ok(_))), "{sent:?}");
    meeting.peer.always(Behaviour::Accept);
    assert_eq!(meeting.send(&message()).await.unwrap().status(), 202);
}

#[tokio::test]
async fn goaway_is_said_before_the_connection_is_closed_in_order() {
    let meeting = Meeting::new();
    meeting.peer.answer(Behaviour::GoAway);
    let mut stream = connect(&meeting).await;
    stream.write_all(REQUEST).await.unwrap();
    let mut said = Vec::new();
    // No `close_notify` would be an error.
    stream.read_to_end(&mut said).await.unwrap();
    let types = frames(&said);
    assert!(types.contains(&GOAWAY) && !types.contains(&1), "{types:?}");
    assert_eq!(meeting.peer.requests()[0].path, "/");
}
