//! The webhook of `bob@beta.test`: what a push agent does with the calls of its gateway.
//!
//! A call counts only if its signature is good (Standard Webhooks: HMAC-SHA256 over
//! `id.timestamp.body`) and its time is within five minutes of ours. The answer holds `response`,
//! which the gateway sends to the sender as a message.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::clock::Clock;

/// The path of the webhook.
pub(super) const PATH: &str = "/bob";
/// How far the time of a call may be off, in seconds.
const TOLERANCE: i64 = 300;
/// Calls that nobody has looked at yet; more are answered and forgotten.
const NOTED: usize = 64;

/// A call that came and was believed.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) message_id: String,
    /// What was answered.
    pub(super) response: Value,
}

#[derive(Clone)]
struct Bob {
    key: Arc<hmac::Key>,
    clock: Clock,
    calls: mpsc::Sender<Call>,
}

/// The routes of the webhook, and what comes in.
pub(super) fn webhook(secret: &[u8], clock: Clock) -> (Router, mpsc::Receiver<Call>) {
    let (calls, came) = mpsc::channel(NOTED);
    let bob = Bob {
        key: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, secret)),
        clock,
        calls,
    };
    (Router::new().route(PATH, post(take)).with_state(bob), came)
}

async fn take(
    State(bob): State<Bob>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, StatusCode> {
    if !bob.believes(&headers, &body) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let message: Value = serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let response = json!({
        "text": "bob's program read your message",
        "you_wrote": message["payload"],
    });
    let call = Call {
        message_id: message["message_id"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        response: response.clone(),
    };
    // Full when nobody looks any more.
    drop(bob.calls.try_send(call));
    Ok(Json(json!({ "response": response })))
}

impl Bob {
    fn believes(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let (Some(id), Some(time), Some(signatures)) = (
            header("webhook-id"),
            header("webhook-timestamp"),
            header("webhook-signature"),
        ) else {
            return false;
        };
        let now = self.clock.now().as_millis().div_euclid(1_000);
        let fresh = time
            .parse::<i64>()
            .is_ok_and(|time| now.abs_diff(time) <= TOLERANCE.unsigned_abs());
        let signed = [id.as_bytes(), b".", time.as_bytes(), b".", body].concat();
        let good = |signature: &str| {
            signature
                .strip_prefix("v1,")
                .and_then(|text| STANDARD.decode(text).ok())
                .is_some_and(|tag| hmac::verify(&self.key, &signed, &tag).is_ok())
        };
        fresh && signatures.split(' ').any(good)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TestClock;
    use crate::protocol::Timestamp;

    /// The example of the specification of Standard Webhooks.
    const SECRET: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const SECONDS: i64 = 1_614_265_330;

    fn headers(signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(
            "webhook-id",
            "msg_p5jXN8AQM9LWM0D4loKWxJek".parse().unwrap(),
        );
        headers.insert("webhook-timestamp", SECONDS.to_string().parse().unwrap());
        headers.insert("webhook-signature", signature.parse().unwrap());
        headers
    }

    fn bob(seconds: i64) -> (Bob, mpsc::Receiver<Call>) {
        let (calls, came) = mpsc::channel(NOTED);
        let secret = STANDARD.decode(SECRET).unwrap();
        let bob = Bob {
            key: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &secret)),
            clock: Clock::over(TestClock::at(Timestamp::from_millis(seconds * 1_000))),
            calls,
        };
        (bob, came)
    }

    #[test]
    fn only_a_fresh_call_with_a_good_signature_is_believed() {
        let (on_time, _calls) = bob(SECONDS + 300);
        assert!(on_time.believes(&headers(SIGNATURE), BODY));
        assert!(on_time.believes(&headers(&format!("v1,AAAA {SIGNATURE}")), BODY));
        assert!(!on_time.believes(&headers(SIGNATURE), b"{}"));
        assert!(!on_time.believes(&headers("v1,AAAA"), BODY));
        assert!(!on_time.believes(&headers("v1"), BODY));
        assert!(!on_time.believes(&HeaderMap::new(), BODY));
        let (late, _calls) = bob(SECONDS + 301);
        assert!(!late.believes(&headers(SIGNATURE), BODY));
    }

    #[tokio::test]
    async fn a_call_is_answered_also_when_nobody_looks() {
        let (bob, calls) = bob(SECONDS);
        drop(calls);
        let answer = take(State(bob), headers(SIGNATURE), Bytes::from_static(BODY));
        assert!(answer.await.unwrap().0["response"]["text"].is_string());
    }
}
