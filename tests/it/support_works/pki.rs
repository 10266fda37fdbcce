//! Handshakes in memory with what the authority issues.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, ServerConnection};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};

use crate::support::pki::{Ca, Issued, Versions, server_config};

/// What a client that believes one authority says of a server, after a whole handshake.
fn shake(
    roots: &Path,
    name: &str,
    server: &Issued,
    versions: Versions,
) -> Result<(ProtocolVersion, Vec<u8>), String> {
    let mut store = RootCertStore::empty();
    store
        .add(CertificateDer::from_pem_file(roots).unwrap())
        .unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut server = ServerConnection::new(server_config(server, versions)).unwrap();
    let text = |error: rustls::Error| error.to_string();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut io::Cursor::new(&wire)).unwrap();
        server.process_new_packets().map_err(text)?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut io::Cursor::new(&wire)).unwrap();
        client.process_new_packets().map_err(text)?;
    }
    let version = client.protocol_version().unwrap();
    Ok((version, client.alpn_protocol().unwrap().to_vec()))
}

#[test]
fn a_certificate_is_believed_for_its_names_and_its_authority_only() {
    let folder = tempfile::tempdir().unwrap();
    let [ca, other] = [Ca::new(folder.path()), Ca::other(folder.path())];
    let host = Ipv4Addr::new(10, 77, 0, 1).to_string();
    let good = ca.issue(&["gw.test", &host], folder.path());
    let versions = Versions::Tls13;
    for name in ["gw.test", &host] {
        let (version, alpn) = shake(ca.pem_path(), name, &good, versions).unwrap();
        assert_eq!((version, alpn), (ProtocolVersion::TLSv1_3, b"h2".to_vec()));
    }
    shake(ca.pem_path(), "else.test", &good, versions).unwrap_err();
    shake(other.pem_path(), "gw.test", &good, versions).unwrap_err();
    let foreign = other.issue(&["gw.test"], folder.path());
    shake(ca.pem_path(), "gw.test", &foreign, versions).unwrap_err();
    shake(other.pem_path(), "gw.test", &foreign, versions).unwrap();
}

#[test]
fn an_expired_certificate_is_refused_as_expired() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new(folder.path());
    let old = ca.issue_expired(&["gw.test"], folder.path());
    let refused = shake(ca.pem_path(), "gw.test", &old, Versions::Tls13).unwrap_err();
    assert!(refused.contains("expired"), "{refused}");
}

#[test]
fn a_server_of_the_old_tls_speaks_nothing_newer() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new(folder.path());
    let issued = ca.issue(&["gw.test"], folder.path());
    let (version, _) = shake(ca.pem_path(), "gw.test", &issued, Versions::Tls12).unwrap();
    assert_eq!(version, ProtocolVersion::TLSv1_2);
}
