use std::io;
use std::sync::Mutex;

use axum::body::Body;
use axum::routing::{get, post};
use serde_json::Value;
use tower::ServiceExt as _;

use super::*;
use crate::clock::TestClock;
use crate::protocol::Timestamp;

#[derive(serde::Deserialize)]
struct Query {
    limit: u8,
}

async fn panics() -> &'static str {
    panic!("boom")
}

async fn refuses() -> Result<(), ApiError> {
    Err(ApiError::new(ErrorCode::MailboxFull)
        .message("Full.")
        .cause("secret"))
}

fn router(metrics: &Metrics) -> Router {
    let clock = Clock::over(TestClock::at(Timestamp::from_millis(1_700_000_000_123)));
    let router = Router::new()
        .route("/things", get(|| async { "things" }).delete(|| async {}))
        .route("/things/{id}", get(|| async { StatusCode::NO_CONTENT }))
        .route("/panic", get(panics))
        .route("/refused", get(refuses))
        .route(
            "/query",
            get(|q: axum::extract::Query<Query>| async move { q.limit.to_string() }),
        )
        .route("/json", post(|_: axum::Json<Value>| async {}))
        .route(
            "/ready",
            get(|| async {
                (
                    StatusCode::SERVICE_UNAVAILABLE,
                    axum::Json(json!({"ready": false})),
                )
            }),
        )
        .route(
            "/cached",
            get(|| async { ([(header::CACHE_CONTROL, "max-age=60")], "kept") }),
        );
    Edge {
        clock,
        metrics: metrics.clone(),
        admission: None,
    }
    .around(router)
}

async fn ask(request: http::request::Builder, body: &'static str) -> (Response, Metrics) {
    let metrics = Metrics::new();
    let request = request.body(Body::from(body)).unwrap();
    (router(&metrics).oneshot(request).await.unwrap(), metrics)
}

async fn error_of(answer: Response) -> Value {
    let bytes = axum::body::to_bytes(answer.into_body(), 10_000)
        .await
        .unwrap();
    let body: Value = serde_json::from_slice(&bytes).expect("an AMTP error body");
    body["error"].clone()
}

#[tokio::test]
async fn every_failure_answers_with_the_error_body() {
    let json = || Request::post("/json").header("content-type", "application/json");
    let table: [(http::request::Builder, &'static str, u16, &str); 9] = [
        (Request::get("/nothing"), "", 404, "NOT_FOUND"),
        (Request::post("/things"), "", 405, "METHOD_NOT_ALLOWED"),
        (Request::get("/panic"), "", 500, "INTERNAL_ERROR"),
        (Request::get("/refused"), "", 503, "MAILBOX_FULL"),
        (Request::get("/query?limit=x"), "", 400, "INVALID_PARAMETER"),
        (Request::get("/query"), "", 400, "INVALID_PARAMETER"),
        (Request::post("/json"), "{}", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (json(), "{", 400, "INVALID_PARAMETER"),
        (
            Request::get("/things").header("x-amtp-version", "2.0"),
            "",
            400,
            "UNSUPPORTED_VERSION",
        ),
    ];
    for (request, body, status, code) in table {
        let (answer, metrics) = ask(request, body).await;
        assert_eq!(answer.status(), status, "{code}");
        assert_eq!(answer.headers()["content-type"], "application/json");
        let id = answer.headers()["x-request-id"]
            .to_str()
            .unwrap()
            .to_owned();
        let error = error_of(answer).await;
        assert_eq!(error["code"], code);
        assert_eq!(error["request_id"], id.as_str());
        assert_eq!(error["timestamp"], "2023-11-14T22:13:20.123Z");
        assert!(!error.to_string().contains("secret") && !error.to_string().contains("boom"));
        let counted = format!("amtp_refused_total{{code=\"{code}\"}} 1");
        assert!(metrics.encode().contains(&counted), "{counted}");
    }
}

#[tokio::test]
async fn a_body_over_the_frameworks_limit_answers_413() {
    let metrics = Metrics::new();
    let body = vec![b' '; 3 * 1024 * 1024];
    let request = Request::post("/json").header("content-type", "application/json");
    let answer = router(&metrics)
        .oneshot(request.body(Body::from(body)).unwrap())
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(error_of(answer).await["code"], "MESSAGE_TOO_LARGE");
}

#[tokio::test]
async fn the_allowed_methods_are_kept() {
    let (answer, _) = ask(Request::post("/things"), "").await;
    assert_eq!(answer.headers()[header::ALLOW], "GET,HEAD,DELETE");
}

#[tokio::test]
async fn what_a_framework_says_is_told_as_the_reason() {
    let (answer, _) = ask(Request::get("/query?limit=x"), "").await;
    let reason = error_of(answer).await["details"]["reason"].to_string();
    assert!(reason.contains("limit"), "{reason}");
}

#[tokio::test]
async fn a_handlers_own_json_answer_stays_as_it_is() {
    let (answer, metrics) = ask(Request::get("/ready"), "").await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let bytes = axum::body::to_bytes(answer.into_body(), 100).await.unwrap();
    assert_eq!(bytes, r#"{"ready":false}"#);
    assert!(!metrics.encode().contains("amtp_refused_total{"));
}

#[tokio::test]
async fn the_callers_id_comes_back() {
    let (answer, _) = ask(
        Request::get("/nothing").header("x-request-id", "mine-1"),
        "",
    )
    .await;
    assert_eq!(answer.headers()["x-request-id"], "mine-1");
    assert_eq!(error_of(answer).await["request_id"], "mine-1");
}

#[tokio::test]
async fn only_version_1_is_spoken() {
    let table = [
        ("1.0", true),
        ("1.1", true),
        ("1.12", true),
        (" 1.0 ", true),
    ];
    let wrong = ["2.0", "1", "1.", "1.x", "10.0", "0.9", "", "1.0.0", "v1.0"].map(|v| (v, false));
    for (version, spoken) in table.into_iter().chain(wrong) {
        let (answer, _) = ask(
            Request::get("/things").header("x-amtp-version", version),
            "",
        )
        .await;
        assert_eq!(answer.headers()["x-amtp-version"], "1.0");
        assert_eq!(answer.status() == StatusCode::OK, spoken, "{version:?}");
        if !spoken {
            assert_eq!(
                error_of(answer).await["details"],
                json!({ "supported": ["1.0"] })
            );
        }
    }
    let twice = Request::get("/things")
        .header("x-amtp-version", "1.0")
        .header("x-amtp-version", "2.0");
    assert_eq!(ask(twice, "").await.0.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn answers_carry_the_security_headers_unless_the_handler_chose() {
    let (answer, _) = ask(Request::get("/things"), "").await;
    for (name, value) in HEADERS {
        assert_eq!(answer.headers()[name], value);
    }
    assert!(
        !answer
            .headers()
            .contains_key(header::STRICT_TRANSPORT_SECURITY)
    );
    let (answer, _) = ask(Request::get("/cached"), "").await;
    assert_eq!(answer.headers()[header::CACHE_CONTROL], "max-age=60");
}

#[tokio::test]
async fn hsts_is_sent_over_our_own_tls_only() {
    let connection = Connection {
        client: "192.0.2.1:1".parse().unwrap(),
        tls: true,
        client_certificates: Arc::default(),
    };
    let (answer, _) = ask(Request::get("/things").extension(connection), "").await;
    assert_eq!(
        answer.headers()[header::STRICT_TRANSPORT_SECURITY],
        "max-age=31536000"
    );
}

#[tokio::test]
async fn requests_are_counted_by_the_routes_pattern() {
    let (_, metrics) = ask(Request::get("/things/17"), "").await;
    let text = metrics.encode();
    let series = r#"{route="/things/{id}",method="GET",status_class="2xx"} 1"#;
    assert!(
        text.contains(&format!("amtp_http_request_duration_seconds_count{series}")),
        "{text}"
    );
    assert!(text.contains("amtp_http_requests_in_flight 0"));
    let (_, metrics) = ask(Request::builder().method("BREW").uri("/x"), "").await;
    assert!(
        metrics
            .encode()
            .contains(r#"{route="unmatched",method="other",status_class="4xx"}"#)
    );
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn each_request_is_one_line_and_causes_stand_there_only() {
    let kept = Kept::default();
    let writer = kept.clone();
    let log = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_target(false);
    let log = log
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(move || writer.clone());
    // While there is one subscriber only, a thread without it that comes to a line first would
    // turn the line off for all; with a second one the process's subscribers are asked.
    let _second = tracing::Dispatch::new(tracing_subscriber::fmt().with_writer(io::sink).finish());
    let _log = tracing::subscriber::set_default(log.finish());
    let connection = Connection {
        client: "192.0.2.1:1".parse().unwrap(),
        tls: true,
        client_certificates: Arc::default(),
    };
    ask(
        Request::get("/things/17")
            .header("x-request-id", "r-1")
            .extension(connection),
        "",
    )
    .await;
    ask(Request::get("/refused"), "").await;
    ask(Request::get("/panic"), "").await;
    let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3, "{text}");
    let expected = json!({
        "level": "DEBUG", "message": "request", "request.id": "r-1", "http.method": "GET",
        "http.route": "/things/{id}", "http.status": 204, "client.address": "192.0.2.1",
        "duration.ms": 0.0
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&lines[0][name], value, "{name}");
    }
    assert_eq!(
        (&lines[1]["level"], &lines[1]["error.cause"]),
        (&json!("INFO"), &json!("secret"))
    );
    assert_eq!(lines[2]["level"], "ERROR");
    assert_eq!(lines[2]["error.cause"], "a handler panicked: boom");
}
