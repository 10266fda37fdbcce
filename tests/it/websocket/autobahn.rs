//! The cases of the Autobahn test suite: framing, pings, fragments, UTF-8, close codes.

use serde_json::{Value, json};

use crate::support::websocket::{Raw, Sent, frame};
use crate::support::{Agent, Daemon};

/// A frame of the sub-protocol with this payload, however long.
fn ping(reference: &str) -> Vec<u8> {
    json!({ "type": "ping", "ref": reference })
        .to_string()
        .into_bytes()
}

async fn open(daemon: &Daemon, agent: &Agent) -> Raw {
    Raw::session(daemon, agent, "credit=0").await.0
}

async fn pong(raw: &mut Raw, reference: &str) {
    let heard = raw.hear().await;
    assert_eq!(heard, json!({ "type": "pong", "ref": reference }));
}

#[tokio::test]
async fn messages_come_whole_however_they_are_cut() {
    let daemon = Daemon::start(&[]).await;
    let alice = daemon.agent("alice").await;
    let mut raw = open(&daemon, &alice).await;
    // Case 1.1: lengths at the borders of their encodings, cut at any byte.
    for length in [1, 80, 100, 126, 127, 128] {
        let reference = "r".repeat(length.min(128));
        raw.frame(0x81, &ping(&reference)).await;
        pong(&mut raw, &reference).await;
    }
    let spaced = |length: usize| {
        let mut text = ping("long");
        text.resize(text.len() + length, b' ');
        text
    };
    for length in [125, 126, 127, 128, 65_535, 65_536, 1 << 20] {
        raw.frame(0x81, &spaced(length)).await;
        pong(&mut raw, "long").await;
    }
    for byte in frame(0x81, &ping("bytewise")) {
        raw.send(&[byte]).await;
    }
    pong(&mut raw, "bytewise").await;
    // Cases 5 and 9: fragments, empty ones too, with control frames between.
    let text = ping("pieces");
    for size in [1, 7, text.len()] {
        let mut bytes = Vec::new();
        let pieces: Vec<&[u8]> = text.chunks(size).collect();
        for (at, piece) in pieces.iter().enumerate() {
            let first = if at == 0 { 0x01 } else { 0x00 };
            bytes.extend(frame(first, piece));
            bytes.extend(frame(0x00, b""));
            bytes.extend(frame(0x8a, b"unasked"));
        }
        bytes.extend(frame(0x89, b"between"));
        bytes.extend(frame(0x80, b""));
        raw.send(&bytes).await;
        assert_eq!(
            raw.next().await,
            Sent::Frame(0x8a, b"between".to_vec()),
            "{size}"
        );
        pong(&mut raw, "pieces").await;
    }
    let large = spaced(1 << 20);
    let mut bytes = frame(0x01, b"");
    large
        .chunks(64)
        .for_each(|piece| bytes.extend(frame(0x00, piece)));
    bytes.extend(frame(0x80, b""));
    raw.send(&bytes).await;
    pong(&mut raw, "long").await;
}

#[tokio::test]
async fn pings_are_answered_with_what_they_carry() {
    let daemon = Daemon::start(&[]).await;
    let alice = daemon.agent("alice").await;
    let mut raw = open(&daemon, &alice).await;
    for payload in [&b""[..], b"Hello", &[0x00, 0xff, 0xfe], &[0xfe; 125]] {
        raw.frame(0x89, payload).await;
        assert_eq!(raw.next().await, Sent::Frame(0x8a, payload.to_vec()));
    }
    // Case 2.7: a pong nobody asked for.
    raw.frame(0x8a, b"unasked").await;
    raw.frame(0x89, b"after").await;
    assert_eq!(raw.next().await, Sent::Frame(0x8a, b"after".to_vec()));
}

#[tokio::test]
async fn what_breaks_the_rules_ends_the_connection_with_its_code() {
    let daemon = Daemon::start(&[]).await;
    let alice = daemon.agent("alice").await;
    let table: [(&str, Vec<u8>, u16); 21] = [
        ("2.5 a long ping", frame(0x89, &[0xfe; 126]), 1002),
        ("3.1 the first reserved bit", frame(0xc1, b"x"), 1002),
        ("3.2 the second", frame(0xa1, b"x"), 1002),
        ("3.4 the third", frame(0x91, b"x"), 1002),
        ("3.5 on a ping", frame(0xc9, b"x"), 1002),
        ("4.1 a reserved opcode", frame(0x83, b""), 1002),
        ("4.1.5 another", frame(0x87, b""), 1002),
        ("4.2 a reserved control opcode", frame(0x8b, b""), 1002),
        ("4.2.5 another", frame(0x8f, b""), 1002),
        ("5.1 a ping in fragments", frame(0x09, b"x"), 1002),
        ("5.9 nothing to continue", frame(0x80, b"x"), 1002),
        ("5.13 nothing to go on with", frame(0x00, b"x"), 1002),
        (
            "5.18 two messages at once",
            [frame(0x01, b"x"), frame(0x81, b"y")].concat(),
            1002,
        ),
        ("binary", frame(0x82, b"x"), 1003),
        (
            "6.3 invalid UTF-8",
            frame(0x81, b"\xce\xba\xe1\xbd\xb9\xed\xa0\x80"),
            1007,
        ),
        ("6.6 half a character", frame(0x81, b"\xce"), 1007),
        (
            "6.4 invalid UTF-8 in fragments",
            [
                frame(0x01, b"ok"),
                frame(0x00, b"\xf4\x90\x80\x80"),
                frame(0x80, b""),
            ]
            .concat(),
            1007,
        ),
        ("7.3.2 half a close code", frame(0x88, b"\x03"), 1002),
        ("7.3.6 a long close", frame(0x88, &[3; 126]), 1002),
        (
            "7.5.1 a reason that is not UTF-8",
            frame(0x88, b"\x03\xe8\xce\xba\xe1\xed\xa0"),
            1007,
        ),
        ("no mask", vec![0x81, 0x01, b'x'], 1002),
    ];
    for (what, bytes, expected) in table {
        let mut raw = open(&daemon, &alice).await;
        raw.send(&bytes).await;
        let (code, reason) = raw.closed().await;
        assert_eq!(code, expected, "{what}: {reason}");
        assert_eq!(raw.next().await, Sent::End, "{what}");
    }
}

#[tokio::test]
async fn valid_text_of_every_kind_is_taken() {
    let daemon = Daemon::start(&[]).await;
    let alice = daemon.agent("alice").await;
    let mut raw = open(&daemon, &alice).await;
    for word in [
        "κόσμε",
        "\u{7f}",
        "\u{7ff}",
        "\u{ffff}",
        "\u{10ffff}",
        "\u{1f600}",
    ] {
        let text = ping(word);
        raw.frame(0x81, &text).await;
        pong(&mut raw, word).await;
        let middle = text.len() - 4;
        raw.frame(0x01, &text[..middle]).await;
        raw.frame(0x80, &text[middle..]).await;
        pong(&mut raw, word).await;
    }
}

#[tokio::test]
async fn close_codes_are_answered() {
    let daemon = Daemon::start(&[]).await;
    let alice = daemon.agent("alice").await;
    let with = |code: u16, reason: &str| [&code.to_be_bytes(), reason.as_bytes()].concat();
    let mut table = vec![(Vec::new(), 0), (with(1000, "Hello World!"), 1000)];
    table.push((with(1000, &"*".repeat(123)), 1000));
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999,
    ] {
        table.push((with(code, ""), code));
    }
    for code in [
        0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535,
    ] {
        table.push((with(code, ""), 1002));
    }
    for (payload, expected) in table {
        let mut raw = open(&daemon, &alice).await;
        raw.frame(0x88, &payload).await;
        assert_eq!(raw.closed().await.0, expected, "{payload:?}");
        assert_eq!(raw.next().await, Sent::End);
    }
    // Case 7.1: what comes after a close is not looked at.
    let mut raw = open(&daemon, &alice).await;
    raw.send(
        &[
            frame(0x81, &ping("1")),
            frame(0x88, &with(1000, "")),
            frame(0x81, &ping("2")),
        ]
        .concat(),
    )
    .await;
    let mut heard: Vec<Value> = Vec::new();
    loop {
        match raw.next().await {
            Sent::Frame(0x81, text) => heard.push(serde_json::from_slice(&text).unwrap()),
            Sent::Frame(0x88, _) => {}
            Sent::Frame(other, _) => panic!("{other:#x}"),
            Sent::End => break,
        }
    }
    assert_eq!(heard, [json!({ "type": "pong", "ref": "1" })]);
}
