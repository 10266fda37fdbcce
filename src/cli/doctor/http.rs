//! What a gateway answers over HTTP: that it lives, what time it is there, and that it speaks AMTP.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{DATE, HeaderMap, LOCATION};
use hyper::{Request, StatusCode};
use serde_json::Value;

use super::Tools;
use super::report::{Check, shown};
use crate::net::{
    Answer, AnswerLimits, Asked, DnsFault, FileFault, GuardOptions, GuardedClient, MailExchange,
    NetFault, Plain, Records, Resolver, Times, TlsVersions,
};
use crate::protocol::{GatewayUrl, Timestamp};

const HEALTH: &str = "health";
const CLOCK: &str = "clock";
pub(super) const ROUTE: &str = "amtp";
/// Bytes of an answer that are taken.
const LARGEST: usize = 256 * 1024;
/// Clocks may differ so far, in milliseconds; an HTTP date is cut to the second.
const SKEW_NOTED: u64 = 30_000;
const SKEW_TOLERATED: u64 = 300_000;
const REDIRECT_FIX: &str =
    "gateways never follow a redirect: answer here, or name the place it leads to in the record";

type Outcome = Result<Answer, NetFault>;

/// Asks a gateway at one of its addresses.
pub(super) async fn look(
    tools: &Tools,
    gateway: &GatewayUrl,
    (place, address): (&str, IpAddr),
) -> Result<Vec<Check>, FileFault> {
    let client = client(tools, address)?;
    let get = |route: &str| get(tools, &client, gateway.join(route));
    let mut alive = get("/health").await;
    if matches!(&alive, Ok(answer) if answer.status == StatusCode::NOT_FOUND) {
        alive = get("/ready").await;
    }
    let now = tools.clock.now();
    let route = get("/v1/messages").await;
    let mut checks = vec![judge_route(place, &route)];
    checks.push(judge_health(place, &alive));
    let headers = [&alive, &route].into_iter().flatten();
    let date = headers.map(|answer| &answer.headers).find_map(date_of);
    checks.push(judge_clock(place, date, now));
    Ok(checks)
}

/// A client for which every host has this one address.
fn client(tools: &Tools, address: IpAddr) -> Result<GuardedClient, FileFault> {
    GuardedClient::new(GuardOptions {
        resolver: Arc::new(Fixed(address)),
        filter: tools.filter.clone(),
        trusted_ca_files: tools.ca_files.clone(),
        client_identity: None,
        tls: TlsVersions::Only13,
        plain: Plain::Refused,
        times: Times {
            connect: tools.time,
            handshake: tools.time,
            ..Times::default()
        },
        clock: tools.clock.clone(),
    })
}

async fn get(tools: &Tools, client: &GuardedClient, url: String) -> Outcome {
    let request = Request::get(&url)
        .header("accept", "application/json")
        .header("x-amtp-version", "1.0")
        .header(
            "user-agent",
            concat!("AMTP/1.0 (amtpd/", env!("CARGO_PKG_VERSION"), "; doctor)"),
        )
        .body(Full::new(Bytes::new()))
        .map_err(|fault| NetFault::Connect {
            host: url,
            cause: fault.to_string(),
        })?;
    let limits = AnswerLimits {
        size: LARGEST,
        time: tools.time,
    };
    client.send(request, limits).await
}

/// Where an answer redirects to.
fn redirect(answer: &Answer) -> Option<String> {
    if !answer.status.is_redirection() {
        return None;
    }
    let to = answer.headers.get(LOCATION)?;
    Some(shown(&String::from_utf8_lossy(to.as_bytes())))
}

fn judge_health(place: &str, outcome: &Outcome) -> Check {
    let answer = match outcome {
        Ok(answer) => answer,
        Err(fault) => {
            return Check::fault(
                HEALTH,
                format!("{place}: no answer: {fault}"),
                fix_of(fault),
            );
        }
    };
    let status = answer.status;
    if let Some(to) = redirect(answer) {
        let text = format!("{place}: GET /health is redirected ({status}) to {to}");
        return Check::fault(HEALTH, text, REDIRECT_FIX);
    }
    match status.as_u16() {
        200..300 => Check::ok(HEALTH, format!("{place}: it answers {status}")),
        404 | 405 => {
            let text = format!("{place}: there is no /health and no /ready");
            Check::skipped(HEALTH, text)
        }
        500.. => {
            let text = format!("{place}: GET /health is answered {status}");
            Check::fault(
                HEALTH,
                text,
                "look at the gateway's log, and at the proxy before it",
            )
        }
        _ => {
            let text = format!("{place}: GET /health is answered {status}");
            Check::warning(
                HEALTH,
                text,
                "let everybody see whether it lives, or look at the proxy",
            )
        }
    }
}

fn judge_route(place: &str, outcome: &Outcome) -> Check {
    let answer = match outcome {
        Ok(answer) => answer,
        Err(fault) => {
            return Check::fault(ROUTE, format!("{place}: no answer: {fault}"), fix_of(fault));
        }
    };
    let status = answer.status;
    if let Some(to) = redirect(answer) {
        let text = format!("{place}: GET /v1/messages is redirected ({status}) to {to}");
        return Check::fault(ROUTE, text, REDIRECT_FIX);
    }
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match body["error"]["code"].as_str() {
        Some(code) if status.is_server_error() => {
            let text = format!(
                "{place}: a gateway, but it answers {status} {}",
                shown(code)
            );
            Check::fault(ROUTE, text, "look at its log, its database and its disk")
        }
        Some(code) => {
            let text = format!("{place}: a gateway: {status} {}", shown(code));
            Check::ok(ROUTE, text)
        }
        None if status.is_success() && body["messages"].is_array() => {
            let text = format!("{place}: it lists messages to anybody");
            Check::warning(
                ROUTE,
                text,
                "ask for a credential before GET /v1/messages is answered",
            )
        }
        None => {
            let text =
                format!("{place}: GET /v1/messages is answered {status}, not by an AMTP gateway");
            let fix = "is the path in the record's gateway right, and does the proxy lead /v1/ to the gateway?";
            Check::fault(ROUTE, text, fix)
        }
    }
}

fn fix_of(fault: &NetFault) -> &'static str {
    match fault {
        NetFault::TimedOut { .. } => {
            "the connection stands, but nobody answers: is the gateway behind it alive? --timeout gives it longer"
        }
        NetFault::Tls { .. } => {
            "does it ask for a client's certificate? Other gateways need not have one"
        }
        _ => "does HTTP/2 or HTTP/1.1 answer on this port?",
    }
}

/// The answer's own time, in milliseconds since 1970.
fn date_of(headers: &HeaderMap) -> Option<i64> {
    let text = headers.get(DATE)?.to_str().ok()?;
    let moment = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text);
    Some(moment.ok()?.as_millisecond())
}

fn judge_clock(place: &str, date: Option<i64>, now: Timestamp) -> Check {
    let Some(date) = date else {
        return Check::skipped(
            CLOCK,
            format!("{place}: no answer says what time it is there"),
        );
    };
    let skew = date.saturating_sub(now.as_millis());
    let size = skew.unsigned_abs();
    let side = if skew < 0 { "behind" } else { "ahead of" };
    let text = format!(
        "{place}: its clock is {} s {side} this machine's",
        Duration::from_millis(size).as_secs()
    );
    let fix = "set both clocks by NTP: signatures, expiry and certificates go by them";
    if size > SKEW_TOLERATED {
        Check::fault(CLOCK, text, fix)
    } else if size > SKEW_NOTED {
        Check::warning(CLOCK, text, fix)
    } else {
        let text = format!("{place}: its clock agrees with this machine's");
        Check::ok(CLOCK, text)
    }
}

/// Says of every name that it has one address, and of no name anything else.
struct Fixed(IpAddr);

impl Resolver for Fixed {
    fn txt<'a>(&'a self, _name: &'a str) -> Asked<'a, String> {
        Box::pin(async { Err(DnsFault::Nothing { ttl: None }) })
    }

    fn mx<'a>(&'a self, _name: &'a str) -> Asked<'a, MailExchange> {
        Box::pin(async { Err(DnsFault::Nothing { ttl: None }) })
    }

    fn addresses<'a>(&'a self, _host: &'a str) -> Asked<'a, IpAddr> {
        let found = Records {
            records: vec![self.0],
            ttl: Duration::ZERO,
        };
        Box::pin(async { Ok(found) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::report::Grade;

    const NOW: Timestamp = Timestamp::from_millis(1_795_245_000_500);

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Outcome {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(
                hyper::header::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            );
        }
        Ok(Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: map,
            body: Bytes::copy_from_slice(body.as_bytes()),
            remote: None,
        })
    }

    fn timed_out() -> Outcome {
        Err(NetFault::TimedOut {
            host: "g.example".to_owned(),
            phase: "the answer",
        })
    }

    #[test]
    fn a_gateway_is_known_by_the_errors_it_answers() {
        use Grade::{Fault, Ok, Warning};
        let error = |code: &str| format!(r#"{{"error":{{"code":"{code}","message":"m"}}}}"#);
        for (outcome, grade, words) in [
            (
                answer(401, &[], &error("AUTHENTICATION_FAILED")),
                Ok,
                "401 Unauthorized AUTHENTICATION_FAILED",
            ),
            (
                answer(503, &[], &error("TEMPORARY_FAILURE")),
                Fault,
                "TEMPORARY_FAILURE",
            ),
            (
                answer(200, &[], r#"{"messages":[]}"#),
                Warning,
                "to anybody",
            ),
            (answer(200, &[], "<html>"), Fault, "not by an AMTP gateway"),
            (answer(404, &[], "not found"), Fault, "is the path"),
            (
                answer(401, &[], r#"{"error":"no"}"#),
                Fault,
                "not by an AMTP gateway",
            ),
            (answer(301, &[], ""), Fault, "not by an AMTP gateway"),
            (
                answer(301, &[("location", "https://www.g.example/")], ""),
                Fault,
                "redirected (301 Moved Permanently) to https://www.g.example/",
            ),
            (timed_out(), Fault, "--timeout"),
        ] {
            let check = judge_route("at", &outcome);
            let said = format!("{check:?}");
            assert_eq!(check.result, grade, "{said}");
            assert!(said.contains(words), "{said}");
        }
    }

    #[test]
    fn health_is_what_the_status_says() {
        use Grade::{Fault, Ok, Skipped, Warning};
        for (outcome, grade) in [
            (answer(200, &[], ""), Ok),
            (answer(404, &[], ""), Skipped),
            (answer(403, &[], ""), Warning),
            (answer(502, &[], ""), Fault),
            (answer(308, &[("location", "/x")], ""), Fault),
            (timed_out(), Fault),
        ] {
            assert_eq!(judge_health("at", &outcome).result, grade, "{outcome:?}");
        }
    }

    #[test]
    fn clocks_may_differ_a_little() {
        use Grade::{Fault, Ok, Skipped, Warning};
        for (date, grade, words) in [
            (Some("Sat, 21 Nov 2026 07:10:00 GMT"), Ok, "agrees"),
            (Some("Sat, 21 Nov 2026 07:10:25 GMT"), Ok, "agrees"),
            (
                Some("Sat, 21 Nov 2026 07:11:00 GMT"),
                Warning,
                "59 s ahead of",
            ),
            (Some("Sat, 21 Nov 2026 07:00:00 GMT"), Fault, "600 s behind"),
            (Some("yesterday"), Skipped, "no answer says"),
            (None, Skipped, "no answer says"),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(date) = date {
                headers.insert(DATE, date.parse().unwrap());
            }
            let check = judge_clock("at", date_of(&headers), NOW);
            assert_eq!(check.result, grade, "{check:?}");
            assert!(check.text.contains(words), "{check:?}");
        }
    }
}
