//! Whom the client believes, and what it shows.

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};

use super::world::{World, here, page, tls};
use crate::net::{GuardedClient, TlsVersions};

/// A server that wants to see a certificate of the same authority.
fn demanding(world: &World) -> ServerConfig {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(world.roots(), provider)
        .build()
        .unwrap();
    let (chain, key) = world.issue("peer.test", 2100);
    tls(&[&TLS13])
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap()
}

#[tokio::test]
async fn a_certificate_that_is_not_right_for_the_host_is_a_tls_fault() {
    let mut world = World::new();
    let other = World::new();
    for ((chain, key), word) in [
        (other.issue("peer.test", 2100), "UnknownIssuer"),
        (world.issue("peer.test", 2020), "expired"),
        (world.issue("other.test", 2100), "not valid for name"),
    ] {
        let config = tls(&[&TLS13])
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let port = world.serve(config).await;
        let fault = page(&world.client(), port, "/").await.unwrap_err();
        assert_eq!(fault.kind(), "tls", "{fault}");
        assert!(fault.to_string().contains(word), "{fault} lacks {word}");
    }
}

#[tokio::test]
async fn tls_1_2_is_spoken_only_where_allowed() {
    let mut world = World::new();
    let (chain, key) = world.issue("peer.test", 2100);
    let config = tls(&[&TLS12])
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let port = world.serve(config).await;
    let fault = page(&world.client(), port, "/").await.unwrap_err();
    assert_eq!(fault.kind(), "tls", "{fault}");
    let mut options = world.options(&["127.0.0.1"]);
    options.tls = TlsVersions::From12;
    let client = GuardedClient::new(options).unwrap();
    assert_eq!(page(&client, port, "/").await.unwrap().remote, here(port));
}

#[tokio::test]
async fn an_identity_is_shown_to_those_that_ask() {
    let mut world = World::new();
    world.issue("client.test", 2100);
    let port = world.serve(demanding(&world)).await;
    let mut options = world.options(&["127.0.0.1"]);
    options.client_identity = Some((world.file("client.test.pem"), world.file("client.test.key")));
    let client = GuardedClient::new(options).unwrap();
    assert!(page(&client, port, "/").await.is_ok());
}

#[tokio::test]
async fn a_server_that_misses_our_certificate_is_a_tls_fault() {
    let mut world = World::new();
    for alpn in ["h2", "http/1.1"] {
        let mut config = demanding(&world);
        config.alpn_protocols = vec![alpn.into()];
        let port = world.serve(config).await;
        let fault = page(&world.client(), port, "/").await.unwrap_err();
        assert_eq!(fault.kind(), "tls", "{alpn}: {fault}");
        assert!(fault.to_string().contains("CertificateRequired"), "{fault}");
    }
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let world = World::new();
    world.issue("one.test", 2100);
    world.issue("two.test", 2100);
    std::fs::write(world.file("empty.pem"), "").unwrap();
    let with_ca = |name: &str| {
        let mut options = world.options(&[]);
        options.trusted_ca_files.push(world.file(name));
        options
    };
    let with_identity = |chain: &str, key: &str| {
        let mut options = world.options(&[]);
        options.client_identity = Some((world.file(chain), world.file(key)));
        options
    };
    for (options, guilty) in [
        (with_ca("missing.pem"), "missing.pem"),
        (with_ca("empty.pem"), "empty.pem"),
        (with_identity("empty.pem", "one.test.key"), "empty.pem"),
        (with_identity("one.test.pem", "empty.pem"), "empty.pem"),
        (
            with_identity("one.test.pem", "two.test.key"),
            "two.test.key",
        ),
    ] {
        let fault = GuardedClient::new(options).err().unwrap();
        assert_eq!(fault.path, world.file(guilty), "{fault}");
    }
}
