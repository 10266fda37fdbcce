use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::bench::{BODY_LIMIT, Bench, Security, ask, get_request, in_time, read_to_end};
use crate::endpoint::http::server::{ConnectionLimits, ConnectionTimes, ServerOptions};

const WHO: &str = "GET /who HTTP/1.1\r\nhost: a\r\n\r\n";

fn options(limits: ConnectionLimits) -> ServerOptions {
    ServerOptions {
        limits,
        ..ServerOptions::new("https")
    }
}

async fn bench(security: Security) -> Bench {
    Bench::start(security, options(ConnectionLimits::default())).await
}

fn times() -> ConnectionTimes {
    ConnectionTimes::default()
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_cut() {
    let bench = bench(Security::Tls).await;
    let mut tcp = bench.tcp().await;
    tcp.write_all(b"\x16\x03\x01").await.unwrap();
    assert_eq!(bench.while_time_passes(read_to_end(&mut tcp)).await, "");
    assert!(bench.elapsed() >= times().handshake);
    assert_eq!(
        bench.count("amtp_connections_refused_total{reason=\"handshake\"}"),
        1
    );
}

#[tokio::test]
async fn a_head_that_is_not_finished_is_cut() {
    let bench = bench(Security::Plain).await;
    let mut tcp = bench.tcp().await;
    tcp.write_all(b"GET /who HTTP/1.1\r\nhost: ").await.unwrap();
    assert_eq!(bench.while_time_passes(read_to_end(&mut tcp)).await, "");
    assert!(bench.elapsed() >= times().head);
}

#[tokio::test]
async fn an_open_connection_may_be_idle_longer_than_a_head_may_take() {
    let bench = bench(Security::Plain).await;
    let mut tcp = bench.tcp().await;
    let own = tcp.local_addr().unwrap().to_string();
    ask(&mut tcp, WHO, &own).await;
    bench.test.advance(times().head + Duration::from_secs(1));
    ask(&mut tcp, WHO, &own).await;
    let before = bench.elapsed();
    assert_eq!(bench.while_time_passes(read_to_end(&mut tcp)).await, "");
    assert!(bench.elapsed() - before >= times().idle);
}

#[tokio::test]
async fn an_http_2_connection_without_requests_is_closed() {
    // Without pings, only the idle time can end it.
    let times = ConnectionTimes {
        ping: Duration::from_secs(1_000_000),
        ..times()
    };
    let options = ServerOptions {
        times,
        ..ServerOptions::new("https")
    };
    let bench = Bench::start(Security::Tls, options).await;
    let mut h2 = bench.http2().await;
    assert_eq!(
        h2.send_request(get_request("/who")).await.unwrap().status(),
        StatusCode::OK
    );
    let before = bench.elapsed();
    let closed = std::future::poll_fn(|context| match h2.poll_ready(context) {
        std::task::Poll::Ready(Err(_)) => std::task::Poll::Ready(()),
        _ => {
            context.waker().wake_by_ref();
            std::task::Poll::Pending
        }
    });
    bench.while_time_passes(closed).await;
    assert!(bench.elapsed() - before >= times.idle);
}

#[tokio::test]
async fn a_body_that_stops_arriving_is_refused_with_408() {
    let bench = bench(Security::Plain).await;
    let mut tcp = bench.tcp().await;
    tcp.write_all(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc")
        .await
        .unwrap();
    bench.gate.entered.acquire().await.unwrap().forget();
    let answer = bench.while_time_passes(read_to_end(&mut tcp)).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains(r#""code":"REQUEST_TIMEOUT""#), "{answer}");
}

#[tokio::test]
async fn an_answer_that_is_not_taken_is_cut() {
    let bench = bench(Security::Plain).await;
    let mut tcp = bench.tcp().await;
    let mut head = [0; 12];
    tcp.write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    tcp.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    let gone = async {
        while bench.count("amtp_connections{listener=\"https\"}") > 0 {
            tokio::task::yield_now().await;
        }
    };
    bench.while_time_passes(gone).await;
    assert!(bench.elapsed() >= times().write);
    assert!(
        read_to_end(&mut tcp).await.len() < 64 * 1024 * 1024,
        "the rest never came"
    );
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_with_and_without_a_declared_length() {
    let bench = bench(Security::Plain).await;
    let body = "x".repeat(BODY_LIMIT + 1);
    let declared = format!("content-length: {}\r\n\r\n{body}", body.len());
    let chunked = format!(
        "transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    for rest in [declared, chunked] {
        let request = format!("POST /echo HTTP/1.1\r\nhost: a\r\n{rest}");
        let answer = ask(&mut bench.tcp().await, &request, "}}").await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert!(answer.contains(r#""code":"MESSAGE_TOO_LARGE""#), "{answer}");
        assert!(
            answer.contains(r#""details":{"max_size":1000}"#),
            "{answer}"
        );
    }
    let fits = "x".repeat(BODY_LIMIT);
    let request = format!("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n{fits}");
    assert!(
        ask(&mut bench.tcp().await, &request, &fits)
            .await
            .starts_with("HTTP/1.1 200")
    );
}

#[tokio::test]
async fn a_client_that_sends_all_before_it_reads_still_gets_its_refusal() {
    for security in [Security::Plain, Security::Tls] {
        let bench = bench(security).await;
        let body = vec![b'x'; 8 * 1024 * 1024];
        let head = format!(
            "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let request = [head.as_bytes(), &body].concat();
        let answer = if security == Security::Plain {
            let mut tcp = bench.tcp().await;
            tcp.write_all(&request).await.unwrap();
            read_to_end(&mut tcp).await
        } else {
            let mut tls = bench.tls("http/1.1").await.unwrap();
            tls.write_all(&request).await.unwrap();
            read_to_end(&mut tls).await
        };
        assert!(answer.starts_with("HTTP/1.1 413"), "{security:?}: {answer}");
    }
}

#[tokio::test]
async fn one_client_holds_so_many_connections_and_a_freed_one_counts_again() {
    let bench = Bench::start(
        Security::Plain,
        options(ConnectionLimits {
            per_client: 1,
            ..ConnectionLimits::default()
        }),
    )
    .await;
    let mut first = bench.tcp().await;
    let own = first.local_addr().unwrap().to_string();
    ask(&mut first, WHO, &own).await;
    assert_eq!(read_to_end(&mut bench.tcp().await).await, "");
    assert_eq!(
        bench.count("amtp_connections_refused_total{reason=\"address\"}"),
        1
    );
    assert_eq!(bench.count("amtp_connections{listener=\"https\"}"), 1);
    drop(first);
    let freed = async {
        while bench.count("amtp_connections{listener=\"https\"}") > 0 {
            tokio::task::yield_now().await;
        }
    };
    in_time(freed).await;
    let mut next = bench.tcp().await;
    let own = next.local_addr().unwrap().to_string();
    ask(&mut next, WHO, &own).await;
}

#[tokio::test]
async fn a_full_listener_closes_what_comes_on_top() {
    let limits = ConnectionLimits {
        connections: 1,
        ..ConnectionLimits::default()
    };
    let bench = Bench::start(Security::Plain, options(limits)).await;
    let mut first = bench.tcp().await;
    let own = first.local_addr().unwrap().to_string();
    ask(&mut first, WHO, &own).await;
    assert_eq!(read_to_end(&mut bench.tcp().await).await, "");
    assert_eq!(
        bench.count("amtp_connections_refused_total{reason=\"total\"}"),
        1
    );
}

#[tokio::test]
async fn a_head_over_the_limit_is_refused_with_431() {
    let limits = ConnectionLimits {
        head_bytes: 8_192,
        ..ConnectionLimits::default()
    };
    let bench = Bench::start(Security::Tls, options(limits)).await;
    let long = "x".repeat(limits.head_bytes);
    let oversized = || {
        let mut request = get_request("/who");
        request
            .headers_mut()
            .insert("x-long", long.parse().unwrap());
        request
    };
    let mut h1 = bench.http1(bench.tls("http/1.1").await.unwrap()).await;
    let status = h1.send_request(oversized()).await.unwrap().status();
    assert_eq!(status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    let mut h2 = bench.http2().await;
    let refused = match h2.send_request(oversized()).await {
        Ok(answer) => answer.status() == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Err(_) => true,
    };
    assert!(refused, "HTTP/2 refuses by status or by reset");
    let many = (0..200)
        .map(|n| format!("x-{n}: 1\r\n"))
        .collect::<String>();
    let request = format!("GET /who HTTP/1.1\r\nhost: a\r\n{many}\r\n");
    let mut tls = bench.tls("http/1.1").await.unwrap();
    tls.write_all(request.as_bytes()).await.unwrap();
    assert!(read_to_end(&mut tls).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn an_http_2_body_over_the_limit_leaves_the_connection_usable() {
    let bench = bench(Security::Tls).await;
    let mut h2 = bench.http2().await;
    let body = Full::new(Bytes::from(vec![b'x'; BODY_LIMIT + 1]));
    let request = http::Request::post("https://localhost/echo")
        .body(body)
        .unwrap();
    assert_eq!(
        h2.send_request(request).await.unwrap().status(),
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!(
        h2.send_request(get_request("/who")).await.unwrap().status(),
        StatusCode::OK
    );
}
