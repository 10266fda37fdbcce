use http::StatusCode;
use tokio::io::AsyncWriteExt;

use super::bench::{Bench, Security, ask, get_request, read_to_end, text};
use crate::endpoint::http::server::{Server, ServerFault, ServerOptions};

async fn bench(security: Security) -> Bench {
    Bench::start(security, ServerOptions::new("https")).await
}

#[tokio::test]
async fn a_stopped_listener_lets_requests_finish_and_ends_idle_connections() {
    let bench = bench(Security::Tls).await;
    let mut idle = bench.tls("http/1.1").await.unwrap();
    let own = idle.get_ref().0.local_addr().unwrap().to_string();
    ask(&mut idle, "GET /who HTTP/1.1\r\nhost: a\r\n\r\n", &own).await;
    let mut fresh = bench.tls("http/1.1").await.unwrap();
    let mut h2 = bench.http2().await;
    let mut h1 = bench.http1(bench.tls("http/1.1").await.unwrap()).await;
    let gate = bench.gate.clone();
    let finished = async {
        let (by_h2, by_h1) = tokio::join!(
            h2.send_request(get_request("/gate")),
            h1.send_request(get_request("/gate"))
        );
        for answer in [by_h2.unwrap(), by_h1.unwrap()] {
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(text(answer).await, "passed");
        }
    };
    let script = async {
        gate.entered.acquire_many(2).await.unwrap().forget();
        bench.stop.cancel();
        assert_eq!(read_to_end(&mut idle).await, "", "an idle connection ends");
        assert_eq!(
            read_to_end(&mut fresh).await,
            "",
            "so does one that never asked"
        );
        gate.open.add_permits(2);
    };
    tokio::join!(finished, script);
    let clock = bench.test.clone();
    bench.ended().await.unwrap();
    assert_eq!(
        crate::clock::Clock::over(clock).monotonic(),
        std::time::Duration::ZERO
    );
}

#[tokio::test]
async fn a_stopped_listener_takes_no_new_connection() {
    let bench = bench(Security::Plain).await;
    let address = bench.address;
    bench.stop.cancel();
    bench.ended().await.unwrap();
    #[allow(clippy::disallowed_methods, reason = "a test's client")]
    let refused = tokio::net::TcpStream::connect(address).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn a_request_that_outlasts_the_grace_time_is_aborted() {
    for security in [Security::Plain, Security::Tls] {
        let bench = bench(security).await;
        let request = get_request("/gate");
        let mut plain;
        let mut over_h2;
        let asked: std::pin::Pin<Box<dyn Future<Output = bool>>> = if security == Security::Tls {
            over_h2 = bench.http2().await;
            Box::pin(async { over_h2.send_request(request).await.is_ok() })
        } else {
            plain = bench.http1(bench.tcp().await).await;
            Box::pin(async { plain.send_request(request).await.is_ok() })
        };
        let script = async {
            bench.gate.entered.acquire().await.unwrap().forget();
            bench.stop.cancel();
        };
        let both = async { tokio::join!(asked, script).0 };
        assert!(!bench.while_time_passes(both).await, "no answer comes");
        bench.ended().await.unwrap();
    }
}

#[tokio::test]
async fn a_listener_that_is_dropped_aborts_its_connections() {
    let bench = bench(Security::Plain).await;
    let mut tcp = bench.tcp().await;
    tcp.write_all(b"GET /gate HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    bench.gate.entered.acquire().await.unwrap().forget();
    bench.abandon();
    assert_eq!(read_to_end(&mut tcp).await, "");
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let bench = bench(Security::Plain).await;
    let tools = (crate::clock::Clock::system(), bench.metrics.clone());
    let fault = Server::bind(bench.address, ServerOptions::new("ops"), None, tools)
        .await
        .unwrap_err();
    assert!(matches!(fault, ServerFault::Bind { .. }));
    let expected = format!(
        "cannot listen on {} (ops): Address already in use",
        bench.address
    );
    assert!(fault.to_string().starts_with(&expected), "{fault}");
}
