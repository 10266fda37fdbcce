//! `/v1/capabilities/{domain}`: what discovery found about a domain's gateway.
//!
//! What is known already is answered to everybody. A question to the DNS costs work that others can
//! be made to do, so it needs a credential.

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::{Path, State};
use serde::Serialize;
use serde_json::json;

use super::error::ApiError;
use super::extract::{Caller, Gate, invalid_field};
use crate::auth::Presented;
use crate::config::RECORD_TTL;
use crate::discovery::{self, DiscoveryFault, Found};
use crate::protocol::{Advertisement, Domain, ErrorCode, Timestamp};

/// The version of AMTP that a valid record stands for.
const VERSION: &str = "1.0";
/// A DNS that fails is asked again no earlier than this.
const REST: Duration = Duration::from_secs(5);

#[derive(Serialize)]
pub(super) struct CapabilitiesView {
    domain: String,
    #[serde(flatten)]
    first: GatewayView,
    /// Whole seconds that this still holds.
    ttl: u64,
    stale: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    alternatives: Vec<GatewayView>,
}

#[derive(Serialize)]
struct GatewayView {
    version: &'static str,
    gateway: String,
    auth: Vec<String>,
    max_size: u64,
    features: Vec<String>,
}

impl From<&Advertisement> for GatewayView {
    fn from(said: &Advertisement) -> Self {
        Self {
            version: VERSION,
            gateway: said.gateway.to_string(),
            auth: said.auth.clone(),
            max_size: said.max_size,
            features: said.features.clone(),
        }
    }
}

/// `GET /v1/capabilities/{domain}`
pub(super) async fn show(
    State(api): Gate,
    Path(domain): Path<String>,
    Caller(caller): Caller,
) -> Result<Answer<CapabilitiesView>, ApiError> {
    let domain =
        Domain::parse(&domain).map_err(|fault| invalid_field("domain", &fault.to_string()))?;
    if api.names.is_local(&domain) {
        return Ok(Answer(of_ours(&domain, &api.published)));
    }
    let found = match api.discovery.cached(&domain) {
        Some(found) => found,
        None => {
            credential(&caller)?;
            api.discovery.find(&domain).await?
        }
    };
    of_others(&domain, &found, api.clock.now()).map(Answer)
}

fn credential(caller: &Presented) -> Result<(), ApiError> {
    match caller {
        Presented::Principal(_) => Ok(()),
        Presented::Nothing | Presented::Invalid => Err(ErrorCode::AuthenticationFailed.into()),
    }
}

fn of_ours(domain: &Domain, published: &Advertisement) -> CapabilitiesView {
    CapabilitiesView {
        domain: domain.to_string(),
        first: published.into(),
        ttl: RECORD_TTL.as_secs(),
        stale: false,
        alternatives: Vec::new(),
    }
}

fn of_others(domain: &Domain, found: &Found, now: Timestamp) -> Result<CapabilitiesView, ApiError> {
    let invalid = match &found.answer {
        discovery::Answer::NoRecord { invalid } => invalid.as_slice(),
        discovery::Answer::Gateways(all) => match all.as_slice() {
            [first, others @ ..] => {
                return Ok(CapabilitiesView {
                    domain: domain.to_string(),
                    first: first.into(),
                    ttl: found.expires_at.since(now).as_secs(),
                    stale: found.stale,
                    alternatives: others.iter().map(GatewayView::from).collect(),
                });
            }
            [] => &[],
        },
    };
    Err(ApiError::new(ErrorCode::NotFound)
        .message("The domain has no valid AMTP record.")
        .details(json!({ "record": format!("_amtp.{domain}"), "invalid": invalid })))
}

impl From<DiscoveryFault> for ApiError {
    fn from(fault: DiscoveryFault) -> Self {
        Self::new(ErrorCode::TemporaryFailure)
            .message("The DNS does not answer.")
            .retry_after(REST)
            .cause(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn found(answer: discovery::Answer, left: Duration, stale: bool) -> Found {
        Found {
            answer,
            expires_at: NOW.plus(left),
            ttl: Duration::from_secs(60),
            stale,
        }
    }

    fn gateways(records: &[&str]) -> discovery::Answer {
        let read = |record: &&str| Advertisement::parse(record).unwrap();
        discovery::Answer::Gateways(records.iter().map(read).collect())
    }

    fn domain() -> Domain {
        Domain::parse("b.example").unwrap()
    }

    #[test]
    fn the_first_of_several_gateways_stands_for_all() {
        let answer = gateways(&[
            "v=amtp1;gateway=https://g1.example;auth=cert;max-size=7;features=batch",
            "v=amtp1;gateway=https://g2.example",
        ]);
        let found = found(answer, Duration::from_millis(41_999), false);
        let view = of_others(&domain(), &found, NOW).unwrap();
        assert_eq!(
            serde_json::to_value(view).unwrap(),
            json!({
                "domain": "b.example", "version": "1.0", "gateway": "https://g1.example",
                "auth": ["cert"], "max_size": 7, "features": ["batch"], "ttl": 41, "stale": false,
                "alternatives": [{
                    "version": "1.0", "gateway": "https://g2.example", "auth": [],
                    "max_size": 10_485_760, "features": [],
                }],
            })
        );
    }

    #[test]
    fn a_stale_answer_says_so_and_has_no_time_left() {
        let answer = gateways(&["v=amtp1;gateway=https://g.example"]);
        let late = Found {
            expires_at: NOW.minus(Duration::from_secs(9)),
            ..found(answer, Duration::ZERO, true)
        };
        let view = serde_json::to_value(of_others(&domain(), &late, NOW).unwrap()).unwrap();
        assert_eq!((&view["ttl"], &view["stale"]), (&json!(0), &json!(true)));
        assert_eq!(view.get("alternatives"), None);
    }

    #[test]
    fn without_a_valid_record_there_is_nothing_and_a_failing_dns_is_not_that() {
        let invalid = vec!["the gateway is not an absolute https URL: v=amtp1".to_owned()];
        let none = found(
            discovery::Answer::NoRecord { invalid },
            Duration::from_secs(9),
            false,
        );
        let Err(refused) = of_others(&domain(), &none, NOW) else {
            panic!("there is no gateway");
        };
        assert_eq!(refused.code(), ErrorCode::NotFound);
        let failed = ApiError::from(DiscoveryFault::Busy);
        assert_eq!(failed.code(), ErrorCode::TemporaryFailure);
    }
}
