//! The scripted peer, met by the project's own client.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use amtpd::net::{HttpsClient, Options, Roots};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, Version};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::behaviour::{Behaviour, OTHER_ID};
use crate::support::peer::ScriptedPeer;
use crate::support::pki::Ca;

/// Long enough for every answer that comes at all.
const SOON: Duration = Duration::from_secs(10);

/// A peer called `peer.test`, and somebody who believes its authority.
pub struct Meeting {
    pub folder: TempDir,
    pub ca: Ca,
    pub peer: ScriptedPeer,
}

impl Meeting {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = Ca::new(folder.path());
        let issued = ca.issue(&["peer.test"], folder.path());
        let peer = ScriptedPeer::start(free(), &issued);
        Self { folder, ca, peer }
    }

    pub fn client(&self) -> HttpsClient {
        let roots = Roots::File(self.ca.pem_path().to_owned());
        let resolve = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        HttpsClient::new(&Options { roots, resolve }).unwrap()
    }

    pub async fn send(&self, message: &Value) -> Result<Response<Bytes>, String> {
        self.send_by(&self.client(), message).await
    }

    pub async fn send_by(
        &self,
        client: &HttpsClient,
        message: &Value,
    ) -> Result<Response<Bytes>, String> {
        let port = self.peer.address().port();
        let request = Request::post(format!("https://peer.test:{port}/v1/messages"))
            .header("content-type", "application/json")
            .body(Full::from(message.to_string()))
            .unwrap();
        client
            .send(request)
            .await
            .map_err(|error| error.to_string())
    }
}

fn free() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

pub fn message() -> Value {
    json!({
        "message_id": "01890000-0000-7000-8000-000000000001",
        "recipients": ["a@peer.test", "b@peer.test"],
        "payload": [1.10, "x"],
    })
}

fn body(answer: &Response<Bytes>) -> Value {
    serde_json::from_slice(answer.body()).unwrap()
}

#[tokio::test]
async fn a_peer_records_what_comes_and_accepts_it() {
    let meeting = Meeting::new();
    let client = meeting.client();
    for _ in 0..2 {
        let answer = meeting.send_by(&client, &message()).await.unwrap();
        assert_eq!(answer.status(), 202);
        let wanted = json!({
            "message_id": message()["message_id"],
            "status": "accepted",
            "recipients": [
                { "address": "a@peer.test", "status": "queued" },
                { "address": "b@peer.test", "status": "queued" },
            ],
        });
        assert_eq!(body(&answer), wanted);
    }
    let seen = meeting.peer.wait_for(2, SOON).await;
    assert_eq!(
        (seen[0].path.as_str(), seen[0].method.as_str()),
        ("/v1/messages", "POST")
    );
    assert_eq!((seen[0].version, seen[1].connection), (Version::HTTP_2, 1));
    assert_eq!(seen[0].header("content-type"), "application/json");
    assert_eq!(
        (&seen[0].json, &seen[0].body),
        (&message(), &Bytes::from(message().to_string()))
    );
    assert!(seen[0].at <= seen[1].at);
    assert_eq!(meeting.peer.connections(), 1);
}

#[tokio::test]
async fn a_script_is_played_in_order_and_then_the_usual_answer() {
    let meeting = Meeting::new();
    let steps = [
        Behaviour::json(200, &json!({ "message_id": 1 })),
        Behaviour::error(400, "INVALID_RECIPIENT"),
        Behaviour::HtmlOk,
        Behaviour::Empty202,
        Behaviour::OtherId,
        Behaviour::RedirectTo("https://else.test/".to_owned()),
        Behaviour::RetryAfter(429, 30),
        Behaviour::Status {
            code: 418,
            content_type: "text/x-tea".to_owned(),
            body: "short".to_owned(),
            headers: vec![("x-pot".to_owned(), "stout".to_owned())],
        },
    ];
    for step in steps {
        meeting.peer.answer(step);
    }
    meeting
        .peer
        .always(Behaviour::error(503, "TEMPORARY_FAILURE"));
    let mut answers = Vec::new();
    for _ in 0..9 {
        answers.push(meeting.send(&message()).await.unwrap());
    }
    let codes: Vec<u16> = answers
        .iter()
        .map(|answer| answer.status().as_u16())
        .collect();
    assert_eq!(codes, [200, 400, 200, 202, 202, 307, 429, 418, 503]);
    assert_eq!(body(&answers[1])["error"]["code"], "INVALID_RECIPIENT");
    assert_eq!(answers[2].headers()["content-type"], "text/html");
    assert!(answers[3].body().is_empty());
    assert_eq!(body(&answers[4])["message_id"], OTHER_ID);
    assert_eq!(body(&answers[4])["recipients"][1]["address"], "b@peer.test");
    assert_eq!(answers[5].headers()["location"], "https://else.test/");
    assert_eq!(answers[6].headers()["retry-after"], "30");
    assert_eq!(answers[7].headers()["x-pot"], "stout");
    assert_eq!(answers[8].headers()["content-type"], "application/json");
}

#[tokio::test]
async fn a_hanging_peer_records_and_never_answers() {
    let meeting = Meeting::new();
    meeting.peer.answer(Behaviour::Hang);
    let patience = Duration::from_millis(300);
    timeout(patience, meeting.send(&message()))
        .await
        .unwrap_err();
    assert_eq!(meeting.peer.requests().len(), 1);
    assert_eq!(meeting.send(&message()).await.unwrap().status(), 202);
}

#[tokio::test]
async fn broken_connections_are_errors_and_the_next_one_works() {
    let meeting = Meeting::new();
    for (step, wanted) in [
        (Behaviour::HalfAnswer, "broke off"),
        (Behaviour::GoAway, "closed"),
        (Behaviour::Reset, "reset"),
        (Behaviour::EndlessBody, "larger"),
    ] {
        meeting.peer.answer(step.clone());
        let sent = timeout(SOON, meeting.send(&message())).await.unwrap();
        let error = sent.unwrap_err();
        assert!(error.contains(wanted), "{step:?}: {error}");
    }
    assert_eq!(meeting.send(&message()).await.unwrap().status(), 202);
    assert_eq!(meeting.peer.requests().len(), 5);
}

#[tokio::test]
async fn a_slow_answer_comes_byte_by_byte() {
    let meeting = Meeting::new();
    meeting
        .peer
        .answer(Behaviour::SlowBody(Duration::from_millis(2)));
    let answer = timeout(SOON, meeting.send(&message()))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(body(&answer)["message_id"], message()["message_id"]);
}

#[tokio::test]
async fn a_peer_can_show_another_certificate_or_speak_old_tls() {
    let Meeting { folder, ca, peer } = Meeting::new();
    let expired = ca.issue_expired(&["peer.test"], folder.path());
    let peer = peer.with_certificate(&expired);
    let mut meeting = Meeting { folder, ca, peer };
    let error = meeting.send(&message()).await.unwrap_err();
    assert!(error.contains("expired"), "{error}");
    let good = meeting.ca.issue(&["peer.test"], meeting.folder.path());
    meeting.peer = meeting.peer.with_certificate(&good).with_tls12();
    assert_eq!(meeting.send(&message()).await.unwrap().status(), 202);
}

#[tokio::test]
async fn a_peer_that_is_gone_leaves_its_port_free() {
    let Meeting { folder, ca, peer } = Meeting::new();
    let address = peer.address();
    drop(peer);
    let issued = ca.issue(&["peer.test"], folder.path());
    let peer = ScriptedPeer::start(address, &issued);
    let meeting = Meeting { folder, ca, peer };
    assert_eq!(meeting.send(&message()).await.unwrap().status(), 202);
}
