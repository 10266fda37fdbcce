//! What is counted, as it is shown.

use super::*;

#[test]
fn every_name_of_the_contract_is_shown() {
    let metrics = Metrics::new();
    metrics.accepted("submission");
    metrics.refused(ErrorCode::AgentUnknown);
    let flight = metrics.request_in_flight();
    metrics.answered(&HttpAnswer {
        route: "/v1/messages".into(),
        method: "POST",
        status: 202,
        took: Duration::from_millis(2),
    });
    metrics.commit(3, Duration::from_millis(1));
    let open = metrics.connection("https");
    metrics.connection_refused(RefusedConnection::Address);
    metrics.dns_lookup("txt", "found");
    metrics.store_free_bytes(42);
    metrics.certificate_expires(Timestamp::from_millis(7_000));
    let text = metrics.encode();
    for line in [
        r#"amtp_messages_accepted_total{origin="submission"} 1"#,
        r#"amtp_refused_total{code="AGENT_UNKNOWN"} 1"#,
        "amtp_http_requests_in_flight 1",
        r#"amtp_http_request_duration_seconds_bucket{le="0.0025",route="/v1/messages",method="POST",status_class="2xx"} 1"#,
        r#"amtp_commit_batch_size_bucket{le="4.0"} 1"#,
        "amtp_commit_duration_seconds_count 1",
        r#"amtp_connections{listener="https"} 1"#,
        r#"amtp_connections_refused_total{reason="address"} 1"#,
        r#"amtp_dns_lookups_total{kind="txt",outcome="found"} 1"#,
        "amtp_store_free_bytes 42",
        "amtp_tls_certificate_expiry_timestamp_seconds 7",
        concat!(
            r#"amtp_build_info{version=""#,
            env!("CARGO_PKG_VERSION"),
            r#""} 1"#
        ),
    ] {
        assert!(
            text.lines().any(|shown| shown == line),
            "{line} is not in\n{text}"
        );
    }
    drop((flight, open));
    let text = metrics.encode();
    assert!(text.contains("amtp_http_requests_in_flight 0"), "{text}");
    assert!(
        text.contains(r#"amtp_connections{listener="https"} 0"#),
        "{text}"
    );
    assert!(text.ends_with("# EOF\n"));
}
