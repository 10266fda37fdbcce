//! What a client may do wrong: each ends in an error or a close code, and others notice nothing.

use std::time::Duration;

use hyper::Method;
use serde_json::json;

use super::message;
use crate::support::websocket::{Answer, Raw, Sent, frame, head};
use crate::support::{Daemon, eventually_so, pause};

#[tokio::test]
async fn a_request_that_is_no_handshake_is_refused() {
    let daemon = Daemon::start(&[]).await;
    let alice = daemon.agent("alice").await;
    let bearer = format!("Bearer {}", alice.key);
    let table: [(&[(&str, &str)], u16); 4] = [
        (&[("Sec-WebSocket-Protocol", "mqtt")], 400),
        (
            &[("Authorization", "Bearer ak_0123456789abcdef_wrong")],
            401,
        ),
        (&[("Authorization", "Basic eDp5")], 401),
        (&[("Authorization", &bearer)], 101),
    ];
    for (headers, expected) in table {
        let Answer { status, head, .. } = Raw::shake_hands(&daemon, "/v1/ws", headers).await;
        assert_eq!(status, expected, "{head}");
    }
    for query in ["credit=-1", "credit=x", "inbox=nobody", "credit=1&credit=2"] {
        let path = format!("/v1/ws?{query}");
        let answer = Raw::shake_hands(&daemon, &path, &[("Authorization", &bearer)]).await;
        assert_eq!(answer.status, 400, "{query}");
    }
    let (status, answer) = daemon
        .call(Method::GET, "/v1/ws", Some(&alice.key), None)
        .await;
    assert_eq!(status, 400, "{answer}");
    let staff = std::fs::read_to_string(daemon.folder.path().join("gateway/admin.key")).unwrap();
    let staff = format!("Bearer {}", staff.trim());
    let headers = [("Authorization", staff.as_str())];
    assert_eq!(
        Raw::shake_hands(&daemon, "/v1/ws", &headers).await.status,
        403
    );
}

#[tokio::test]
async fn who_is_unknown_is_shown_out() {
    let daemon = Daemon::start(&[]).await;
    let alice = daemon.agent("alice").await;
    let big = json!({ "type": "auth", "token": "x".repeat(20_000) });
    let table = [
        (json!({ "type": "ping" }), 4401),
        (json!({ "type": "send", "message": {} }), 4401),
        (
            json!({ "type": "auth", "token": "ak_0123456789abcdef_wrong" }),
            4401,
        ),
        (json!({ "type": "auth", "token": 7 }), 4401),
        (json!([1]), 4401),
        (big, 1009),
        (
            json!({ "type": "auth", "token": alice.key, "inbox": "other@it.test" }),
            4403,
        ),
    ];
    for (frame, expected) in table {
        let mut raw = Raw::shake_hands(&daemon, "/v1/ws", &[]).await.raw;
        raw.say(&frame).await;
        let (code, reason) = raw.closed().await;
        assert_eq!(code, expected, "{frame}: {reason}");
        assert!(!reason.is_empty());
        assert_eq!(raw.next().await, Sent::End);
    }
    let mut silent = Raw::shake_hands(&daemon, "/v1/ws", &[]).await.raw;
    let (code, reason) = silent.closed().await;
    assert_eq!((code, reason.as_str()), (4401, "no `auth` came in time"));
}

#[tokio::test]
async fn a_browser_is_not_believed_by_its_certificate_alone() {
    let daemon = Daemon::start(&[]).await;
    let alice = daemon.agent("alice").await;
    let bearer = format!("Bearer {}", alice.key);
    let page = ("Origin", "https://page.example");
    let mut raw = Raw::shake_hands(&daemon, "/v1/ws", &[page, ("Authorization", &bearer)])
        .await
        .raw;
    assert_eq!(raw.hear().await["type"], "welcome");
    let mut raw = Raw::shake_hands(&daemon, "/v1/ws", &[page]).await.raw;
    assert!(raw.is_quiet(Duration::from_millis(200)).await);
}

#[tokio::test]
async fn faulty_frames_end_in_errors_and_others_notice_nothing() {
    let daemon = Daemon::start(&[]).await;
    let (alice, bob) = (daemon.agent("alice").await, daemon.agent("bob").await);
    let (mut other, _) = Raw::session(&daemon, &bob, "").await;
    let (mut raw, _) = Raw::session(&daemon, &alice, "").await;
    let foreign = message(&bob, &alice.address, &json!(1));
    let nobody = message(&alice, "nobody@it.test", &json!(1));
    let table = [
        (json!({ "type": "dance" }), "INVALID_PARAMETER"),
        (
            json!({ "type": "send", "message": 7 }),
            "INVALID_MESSAGE_FORMAT",
        ),
        (
            json!({ "type": "send", "message": foreign }),
            "SENDER_CREDENTIAL_MISMATCH",
        ),
        (
            json!({ "type": "send", "message": nobody }),
            "AGENT_UNKNOWN",
        ),
        (
            json!({ "type": "request", "message": nobody, "wait": "1s" }),
            "AGENT_UNKNOWN",
        ),
        (
            json!({ "type": "ack", "ids": ["018f2f5e-0000-7000-8000-000000000000"] }),
            "NOT_FOUND",
        ),
        (
            json!({ "type": "nack", "ids": ["018f2f5e-0000-7000-8000-000000000000"] }),
            "NOT_FOUND",
        ),
        (
            json!({ "type": "credit", "credit": -1 }),
            "INVALID_PARAMETER",
        ),
        (
            json!({ "type": "subscribe", "topic": "none@it.test" }),
            "NOT_FOUND",
        ),
        (
            json!({ "type": "unsubscribe", "topic": "none@it.test" }),
            "NOT_FOUND",
        ),
        (
            json!({ "type": "publish", "topic": "none@it.test", "message": {} }),
            "NOT_FOUND",
        ),
        (
            json!({ "type": "broadcast", "message": { "payload": 1 } }),
            "POLICY_DENIED",
        ),
    ];
    for (frame, expected) in table {
        let error = raw.ask(frame.clone()).await;
        assert_eq!(error["type"], "error", "{frame}: {error}");
        assert_eq!(error["code"], expected, "{frame}: {error}");
    }
    raw.frame(0x81, b"{").await;
    assert_eq!(raw.hear().await["code"], "INVALID_MESSAGE_FORMAT");
    for _ in 0..10_000 {
        let subscribe = json!({ "type": "subscribe", "ref": "s", "topic": "none@it.test" });
        raw.say(&subscribe).await;
        assert_eq!(raw.hear().await["type"], "error");
    }
    assert_eq!(other.ask(json!({ "type": "ping" })).await["type"], "pong");
    for _ in 0..30 {
        // The gateway may have hung up already.
        drop(raw.try_send(&frame(0x81, b"nonsense")).await);
    }
    assert_eq!(raw.closed().await.0, 1008);
    assert_eq!(other.ask(json!({ "type": "ping" })).await["type"], "pong");
}

#[tokio::test]
async fn a_frame_that_is_too_large_is_refused_also_while_it_is_sent() {
    let daemon = Daemon::start(&[]).await;
    let alice = daemon.agent("alice").await;
    let (mut raw, welcome) = Raw::session(&daemon, &alice, "").await;
    let most = usize::try_from(welcome["max_frame"].as_u64().unwrap()).unwrap();
    assert!(most > 10 << 20 && most < 11 << 20, "{most}");
    let bytes = frame(0x81, &vec![b' '; 11 << 20]);
    drop(raw.try_send(&bytes).await);
    let (code, reason) = raw.closed().await;
    assert_eq!(code, 1009, "{reason}");
    let (mut raw, _) = Raw::session(&daemon, &alice, "").await;
    raw.send(&head(0x81, usize::MAX)).await;
    assert_eq!(raw.closed().await.0, 1009);
}

#[tokio::test]
async fn a_bomb_does_not_go_off() {
    let daemon = Daemon::start(&[]).await;
    let alice = daemon.agent("alice").await;
    let bearer = format!("Bearer {}", alice.key);
    let headers = [
        ("Authorization", bearer.as_str()),
        (
            "Sec-WebSocket-Extensions",
            "permessage-deflate; client_max_window_bits",
        ),
    ];
    let Answer { mut raw, head, .. } = Raw::shake_hands(&daemon, "/v1/ws", &headers).await;
    assert!(
        head.contains("permessage-deflate; server_no_context_takeover"),
        "{head}"
    );
    // The welcome is long enough to be compressed; what it says does not matter here.
    assert!(matches!(raw.next().await, Sent::Frame(0xc1 | 0x81, _)));
    let mut packer = flate2::Compress::new(flate2::Compression::best(), false);
    let mut bomb = Vec::with_capacity(4 << 20);
    let zeros = vec![b' '; 1 << 20];
    for _ in 0..1_000 {
        packer
            .compress_vec(&zeros, &mut bomb, flate2::FlushCompress::None)
            .unwrap();
    }
    packer
        .compress_vec(&[], &mut bomb, flate2::FlushCompress::Sync)
        .unwrap();
    assert!(bomb.len() < 2 << 20, "{}", bomb.len());
    raw.frame(0xc1, &bomb[..bomb.len() - 4]).await;
    assert_eq!(raw.closed().await.0, 1009);
    assert!(resident(&daemon) < 400 << 20);
}

/// Bytes of memory the gateway has.
fn resident(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find(|it| it.starts_with("VmRSS:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

#[tokio::test]
async fn who_vanishes_is_found_out_within_two_heartbeats() {
    let daemon = Daemon::start(&[("AMTPD__LIVE__HEARTBEAT", "1s")]).await;
    let (alice, bob) = (daemon.agent("alice").await, daemon.agent("bob").await);
    let (mut asker, _) = Raw::session(&daemon, &alice, "").await;
    // It answers no ping and never says goodbye.
    let (mut gone, _) = Raw::session(&daemon, &bob, "").await;
    let body = message(&alice, &bob.address, &json!(1));
    asker.say(&json!({ "type": "send", "message": body })).await;
    assert_eq!(gone.hear().await["message"]["payload"], 1);
    let query = json!({ "type": "presence", "addresses": [bob.address] });
    assert_eq!(
        asker.ask(query.clone()).await["agents"][0]["connected"],
        true
    );
    eventually_so("bob is gone", Duration::from_secs(5), async || {
        let answer = asker.ask(query.clone()).await;
        (answer["agents"][0]["connected"] == false).then_some(())
    })
    .await;
    assert_eq!(gone.closed().await.0, 4408);
    let (mut next, _) = Raw::session(&daemon, &bob, "").await;
    let again = next.hear().await;
    assert_eq!(
        (&again["message"]["payload"], &again["redelivered"]),
        (&json!(1), &json!(true))
    );
}

#[tokio::test]
async fn a_token_that_is_forged_opens_a_new_session_and_says_so() {
    let daemon = Daemon::start(&[("AMTPD__LIVE__RESUME", "1s")]).await;
    let (alice, bob) = (daemon.agent("alice").await, daemon.agent("bob").await);
    let (raw, first) = Raw::session(&daemon, &alice, "").await;
    let token = first["resume"].as_str().unwrap().to_owned();
    let refused = async |agent: &crate::support::Agent, token: &str| {
        let bearer = format!("Bearer {}", agent.key);
        let path = format!("/v1/ws?resume={token}");
        let headers = [("Authorization", bearer.as_str())];
        let mut raw = Raw::shake_hands(&daemon, &path, &headers).await.raw;
        let said = raw.hear().await;
        assert_eq!(said["code"], "NOT_FOUND", "{said}");
        let welcome = raw.hear().await;
        assert_eq!(welcome["resumed"], false, "{welcome}");
        assert_ne!(welcome["session"], first["session"]);
    };
    refused(&alice, "forged").await;
    refused(&alice, &format!("{}0", &token[..token.len() - 1])).await;
    refused(&bob, &token).await;
    drop(raw);
    pause(Duration::from_millis(3_500)).await;
    refused(&alice, &token).await;
}

#[tokio::test]
async fn who_takes_nothing_is_throttled_and_then_shown_out() {
    let daemon = Daemon::start(&[("AMTPD__LIVE__HEARTBEAT", "2s")]).await;
    let (alice, bob) = (daemon.agent("alice").await, daemon.agent("bob").await);
    let (mut from, _) = Raw::session(&daemon, &alice, "").await;
    let (slow, _) = Raw::session(&daemon, &bob, "credit=1000").await;
    let large = "x".repeat(1 << 20);
    for _ in 0..60 {
        let body = message(&alice, &bob.address, &json!(large));
        let receipt = from.ask(json!({ "type": "send", "message": body })).await;
        assert_eq!(receipt["type"], "receipt", "{receipt}");
    }
    assert!(resident(&daemon) < 500 << 20, "{}", resident(&daemon));
    let query = json!({ "type": "presence", "addresses": [bob.address] });
    eventually_so("bob is gone", Duration::from_secs(60), async || {
        let answer = from.ask(query.clone()).await;
        (answer["agents"][0]["connected"] == false).then_some(())
    })
    .await;
    drop(slow);
    let (mut next, _) = Raw::session(&daemon, &bob, "credit=1").await;
    assert_eq!(next.hear().await["type"], "message");
}
