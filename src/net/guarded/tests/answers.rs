//! What the client makes of answers.

use hyper::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use super::world::{LIMITS, World, here, page};
use crate::net::{AnswerLimits, NetFault};

/// An empty SETTINGS frame; the server's first one, too.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

#[tokio::test]
async fn an_exchange_goes_over_http_2_and_tells_the_address() {
    let mut world = World::new();
    let port = world.serve(world.config()).await;
    let answer = page(&world.client(), port, "/").await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body, "HTTP/2.0 1");
    assert_eq!(answer.remote, here(port));
}

#[tokio::test]
async fn a_server_without_http_2_gets_http_1_1() {
    let mut world = World::new();
    let mut config = world.config();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let port = world.serve(config).await;
    let answer = page(&world.client(), port, "/").await.unwrap();
    assert_eq!(answer.body, "HTTP/1.1 1");
}

#[tokio::test]
async fn requests_share_a_connection() {
    let mut world = World::new();
    let port = world.serve(world.config()).await;
    let client = world.client();
    let mut bodies = vec![page(&client, port, "/").await.unwrap().body];
    let mut asking = JoinSet::new();
    for _ in 0..20 {
        let client = client.clone();
        asking.spawn(async move { page(&client, port, "/").await.unwrap().body });
    }
    bodies.extend(asking.join_all().await);
    assert!(bodies.iter().all(|body| body == "HTTP/2.0 1"), "{bodies:?}");
}

#[tokio::test]
async fn a_redirect_is_an_answer_like_any_other() {
    let mut world = World::new();
    let port = world.serve(world.config()).await;
    let answer = page(&world.client(), port, "/moved").await.unwrap();
    assert_eq!(answer.status, StatusCode::MOVED_PERMANENTLY);
    assert_eq!(answer.headers["location"], "https://elsewhere.test/");
    assert_eq!(answer.body, "gone");
}

#[tokio::test]
async fn a_connection_on_which_time_ran_out_takes_no_further_request() {
    let mut world = World::new();
    let port = world.serve(world.config()).await;
    let client = world.client();
    assert_eq!(page(&client, port, "/").await.unwrap().body, "HTTP/2.0 1");
    for path in ["/silent", "/drip"] {
        let (clock, met) = (world.clock.clone(), world.met.clone());
        world.tasks.spawn(async move {
            met.notified().await;
            clock.advance(LIMITS.time);
        });
        let fault = page(&client, port, path).await.unwrap_err();
        let expected = NetFault::TimedOut {
            host: "peer.test".to_owned(),
            phase: "the answer",
        };
        assert_eq!(fault, expected, "{path}");
    }
    // "/drip" came over the second connection, and time ran out there too.
    assert_eq!(page(&client, port, "/").await.unwrap().body, "HTTP/2.0 3");
}

#[tokio::test]
async fn an_answer_has_a_largest_size_to_the_byte() {
    let mut world = World::new();
    let port = world.serve(world.config()).await;
    let client = world.client();
    let fault = page(&client, port, "/endless").await.unwrap_err();
    let expected = NetFault::TooLarge {
        host: "peer.test".to_owned(),
        limit: LIMITS.size,
    };
    assert_eq!(fault, expected);
    for (size, fits) in [(10, true), (9, false), (0, false)] {
        let request = hyper::Request::get(format!("https://peer.test:{port}/"))
            .body(http_body_util::Full::default())
            .unwrap();
        let limits = AnswerLimits { size, ..LIMITS };
        let outcome = client.send(request, limits).await;
        assert_eq!(outcome.is_ok(), fits, "{size}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_stream_that_is_reset_in_the_middle_is_broken() {
    let mut world = World::new();
    let port = world.serve(world.config()).await;
    let fault = page(&world.client(), port, "/reset").await.unwrap_err();
    assert_eq!(fault.kind(), "broken", "{fault}");
}

#[tokio::test]
async fn an_answer_with_a_huge_head_is_broken() {
    let mut world = World::new();
    for alpn in ["h2", "http/1.1"] {
        let mut config = world.config();
        config.alpn_protocols = vec![alpn.into()];
        let port = world.serve(config).await;
        let outcome = page(&world.client(), port, "/head").await;
        let kind = outcome
            .map(|a| a.headers.len())
            .map_err(|fault| fault.kind());
        assert_eq!(kind, Err("broken"), "{alpn}");
    }
}

#[tokio::test]
async fn answers_over_http_1_1_that_are_none_are_faults() {
    let mut world = World::new();
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x-a: b\r\n".repeat(200));
    for (said, kind) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
            "broken",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            "broken",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 100001\r\n\r\n",
            "too_large",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\n",
            "broken",
        ),
        ("220 mail.test ESMTP\r\n", "broken"),
        ("HTTP/1.1 200", "broken"),
        ("", "broken"),
        (&many, "broken"),
    ] {
        let bytes = said.to_owned();
        let port = world
            .play("http/1.1", |mut tls| async move {
                tls.read_u8().await?;
                tls.write_all(bytes.as_bytes()).await?;
                tls.shutdown().await
            })
            .await;
        let fault = page(&world.client(), port, "/").await.unwrap_err();
        assert_eq!(fault.kind(), kind, "{said}: {fault}");
    }
}

#[tokio::test]
async fn a_flood_of_settings_and_a_goaway_is_a_broken_connection() {
    let mut world = World::new();
    let goaway = [
        &[0, 0, 8 + 6, 7, 0, 0, 0, 0, 0][..],
        &[0, 0, 0, 0],
        &[0, 0, 0, 11],
        b"enough",
    ];
    let mut said = SETTINGS.repeat(1_000);
    said.extend(goaway.concat());
    let port = world
        .play("h2", |mut tls| async move {
            tls.read_u8().await?;
            tls.write_all(&said).await?;
            tls.flush().await?;
            // Reads what the client still says, until it hangs up.
            tokio::io::copy(&mut tls, &mut tokio::io::sink()).await?;
            Ok(())
        })
        .await;
    let fault = page(&world.client(), port, "/").await.unwrap_err();
    assert_eq!(fault.kind(), "broken", "{fault}");
}

#[tokio::test]
async fn frames_that_are_none_are_a_broken_connection() {
    let mut world = World::new();
    let frames: [&[u8]; 4] = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        // DATA for a stream nobody opened.
        &[0, 0, 1, 0, 0, 0, 0, 0, 9, 0],
        // A frame of 16 MiB.
        &[255, 255, 255, 4, 0, 0, 0, 0, 0],
        // HEADERS of our stream that are no headers.
        &[0, 0, 4, 1, 5, 0, 0, 0, 1, 255, 255, 255, 255],
    ];
    for frame in frames {
        let said = [&SETTINGS[..], frame].concat();
        let port = world
            .play("h2", |mut tls| async move {
                tls.read_u8().await?;
                tls.write_all(&said).await?;
                tls.flush().await?;
                tokio::io::copy(&mut tls, &mut tokio::io::sink()).await?;
                Ok(())
            })
            .await;
        let fault = page(&world.client(), port, "/").await.unwrap_err();
        assert_eq!(fault.kind(), "broken", "{fault}");
    }
}
