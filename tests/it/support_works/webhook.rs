//! The webhook target, and its reading of signatures.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{SystemTime, UNIX_EPOCH};

use amtpd::net::{HttpsClient, Options, Roots};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response};
use ring::hmac;
use serde_json::{Value, json};

use crate::support::behaviour::Behaviour;
use crate::support::pki::Ca;
use crate::support::webhook::{WebhookTarget, signed, verify};

/// The example of the Standard Webhooks libraries.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PARTS: [&str; 2] = ["msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330"];
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

fn free() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

#[test]
fn the_published_example_of_a_signature_is_right_and_nothing_else_is() {
    signed(SECRET, &PARTS, BODY, SIGNATURE).unwrap();
    let several = format!("v1,AAAA v1a,zzzz {SIGNATURE}");
    signed(SECRET, &PARTS, BODY, &several).unwrap();
    for (parts, body, given) in [
        (PARTS, &b"{}"[..], SIGNATURE),
        ([PARTS[0], "1614265331"], BODY, SIGNATURE),
        (["msg_other", PARTS[1]], BODY, SIGNATURE),
        (PARTS, BODY, &SIGNATURE[3..]),
        (PARTS, BODY, ""),
    ] {
        signed(SECRET, &parts, body, given).unwrap_err();
    }
    let other = "whsec_AAAA9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    signed(other, &PARTS, BODY, SIGNATURE).unwrap_err();
}

/// Pushes a signed body to a target; the signature says this time.
async fn push(target: &WebhookTarget, ca: &Ca, time: u64) -> Response<Bytes> {
    let secret = STANDARD.decode(&SECRET["whsec_".len()..]).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    let tag = hmac::sign(&key, format!("m-1.{time}.[1]").as_bytes());
    let request = Request::post(target.url("hook.test"))
        .header("webhook-id", "m-1")
        .header("webhook-timestamp", time)
        .header("webhook-signature", format!("v1,{}", STANDARD.encode(tag)))
        .body(Full::from("[1]"))
        .unwrap();
    let roots = Roots::File(ca.pem_path().to_owned());
    let resolve = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let client = HttpsClient::new(&Options { roots, resolve }).unwrap();
    client.send(request).await.unwrap()
}

#[tokio::test]
async fn a_webhook_target_takes_signed_mail_and_may_reply() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new(folder.path());
    let issued = ca.issue(&["hook.test"], folder.path());
    let target = WebhookTarget::start(free(), &issued);
    let reply = json!({ "response": { "ok": true } });
    target.answer(Behaviour::json(200, &reply));
    #[allow(clippy::disallowed_methods, reason = "the target's clock is real")]
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let answer = push(&target, &ca, now).await;
    assert_eq!(
        serde_json::from_slice::<Value>(answer.body()).unwrap(),
        reply
    );
    let answer = push(&target, &ca, now - 3600).await;
    assert_eq!((answer.status().as_u16(), answer.body().len()), (200, 0));
    let seen = target.requests();
    verify(&seen[0], SECRET).unwrap();
    assert_eq!((&seen[0].path[..], &seen[0].json), ("/hook", &json!([1])));
    let old = verify(&seen[1], SECRET).unwrap_err();
    assert!(old.contains("is not now"), "{old}");
}

#[test]
fn a_webhook_target_may_be_plain_and_notices_a_missing_signature() {
    let target = WebhookTarget::start_plain(free());
    assert!(target.url("127.0.0.1").starts_with("http://127.0.0.1:"));
    target.answer(Behaviour::json(410, &json!({})));
    #[allow(clippy::disallowed_methods, reason = "a client of our own server")]
    let mut stream = TcpStream::connect(target.address()).unwrap();
    stream
        .write_all(
            b"POST /hook HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
        )
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 410 "), "{answer}");
    verify(&target.requests()[0], SECRET).unwrap_err();
}
