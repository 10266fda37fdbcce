use std::sync::Arc;

use http::{StatusCode, Version};
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsConnector;

use super::bench::{Bench, Security, ask, get_request, read_to_end, text};
use crate::endpoint::http::server::ServerOptions;
use crate::tls::Reload;

fn options() -> ServerOptions {
    ServerOptions::new("https")
}

#[tokio::test]
async fn a_tls_1_2_client_is_refused() {
    let bench = Bench::start(Security::Tls, options()).await;
    let config = bench.authority.client(&[&rustls::version::TLS12]);
    let connector = TlsConnector::from(Arc::new(config));
    let tcp = bench.tcp().await;
    let fault = connector
        .connect("localhost".try_into().unwrap(), tcp)
        .await
        .unwrap_err();
    assert!(fault.to_string().contains("ProtocolVersion"), "{fault}");
}

#[tokio::test]
async fn http_2_and_http_1_1_are_chosen_by_alpn() {
    let bench = Bench::start(Security::Tls, options()).await;
    let mut h2 = bench.http2().await;
    let answer = h2.send_request(get_request("/who")).await.unwrap();
    assert_eq!(
        (answer.version(), answer.status()),
        (Version::HTTP_2, StatusCode::OK)
    );
    assert_eq!(
        answer.headers()["strict-transport-security"],
        "max-age=31536000"
    );
    assert!(text(answer).await.starts_with("127.0.0.1:"));
    let mut h1 = bench.http1(bench.tls("http/1.1").await.unwrap()).await;
    let answer = h1.send_request(get_request("/who")).await.unwrap();
    assert_eq!(
        (answer.version(), answer.status()),
        (Version::HTTP_11, StatusCode::OK)
    );
    let fault = bench.tls("smtp").await.unwrap_err();
    assert!(
        fault.to_string().contains("NoApplicationProtocol"),
        "{fault}"
    );
}

#[tokio::test]
async fn a_plain_listener_sends_no_hsts() {
    let bench = Bench::start(Security::Plain, options()).await;
    let answer = ask(
        &mut bench.tcp().await,
        "GET /x HTTP/1.1\r\nhost: a\r\n\r\n",
        "}",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(!answer.contains("strict-transport-security"), "{answer}");
    assert!(
        answer.contains(r#"{"error":{"code":"NOT_FOUND""#),
        "{answer}"
    );
}

#[tokio::test]
async fn a_new_certificate_is_seen_by_the_next_connection_while_the_old_one_lives() {
    let bench = Bench::start(Security::Tls, options()).await;
    let shown = |stream: &tokio_rustls::client::TlsStream<_>| {
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    let first = bench.tls("http/1.1").await.unwrap();
    let before = shown(&first);
    let mut old = bench.http1(first).await;
    bench.authority.issue();
    assert!(matches!(
        bench.identity.reload(),
        Ok(Reload::Replaced { .. })
    ));
    let second = bench.tls("http/1.1").await.unwrap();
    assert_ne!(shown(&second), before);
    let answer = old.send_request(get_request("/who")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

fn behind_proxy() -> ServerOptions {
    let trusted_proxies = ["127.0.0.0/8".parse().unwrap()].into();
    ServerOptions {
        trusted_proxies,
        proxy_protocol: true,
        ..options()
    }
}

#[tokio::test]
async fn the_client_is_the_one_the_proxy_header_names() {
    let bench = Bench::start(Security::Tls, behind_proxy()).await;
    let version_2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\x7f\0\0\x01\x12\x67\x01\xbb";
    let table: [(&[u8], &str); 2] = [
        (
            b"PROXY TCP6 2001:db8::7 ::1 4711 443\r\n",
            "[2001:db8::7]:4711",
        ),
        (version_2, "192.0.2.1:4711"),
    ];
    for (header, client) in table {
        let mut tcp = bench.tcp().await;
        tcp.write_all(header).await.unwrap();
        let mut h1 = bench
            .http1(bench.tls_over(tcp, "http/1.1").await.unwrap())
            .await;
        let mut request = get_request("/who");
        request
            .headers_mut()
            .insert("x-forwarded-for", "203.0.113.9".parse().unwrap());
        let answer = h1.send_request(request).await.unwrap();
        assert_eq!(
            text(answer).await,
            client,
            "a client that is no proxy speaks for itself"
        );
    }
}

#[tokio::test]
async fn a_trusted_proxy_without_its_header_is_refused() {
    let bench = Bench::start(Security::Plain, behind_proxy()).await;
    let mut tcp = bench.tcp().await;
    tcp.write_all(b"GET /who HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(read_to_end(&mut tcp).await, "");
    assert_eq!(
        bench.count("amtp_connections_refused_total{reason=\"proxy_header\"}"),
        1
    );
}

#[tokio::test]
async fn a_proxy_header_of_a_stranger_is_no_proxy_header() {
    let options = ServerOptions {
        trusted_proxies: ["192.0.2.0/24".parse().unwrap()].into(),
        ..behind_proxy()
    };
    let bench = Bench::start(Security::Plain, options).await;
    let mut tcp = bench.tcp().await;
    let request = "GET /who HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 192.0.2.9\r\n\r\n";
    let peer = tcp.local_addr().unwrap().to_string();
    assert!(
        ask(&mut tcp, request, &peer)
            .await
            .starts_with("HTTP/1.1 200")
    );
    let mut tcp = bench.tcp().await;
    tcp.write_all(b"PROXY TCP4 192.0.2.1 1.1.1.1 1 2\r\n\r\n")
        .await
        .unwrap();
    assert!(read_to_end(&mut tcp).await.starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn a_trusted_proxy_names_the_client_by_header_and_nonsense_is_refused() {
    let options = ServerOptions {
        proxy_protocol: false,
        ..behind_proxy()
    };
    let bench = Bench::start(Security::Plain, options).await;
    let mut tcp = bench.tcp().await;
    let request = "GET /who HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 192.0.2.9\r\n\r\n";
    ask(&mut tcp, request, "192.0.2.9:0").await;
    let request = "GET /who HTTP/1.1\r\nhost: a\r\nx-forwarded-for: me\r\n\r\n";
    let answer = ask(&mut tcp, request, "}").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("INVALID_PARAMETER"), "{answer}");
}
