//! What another gateway says of a message, asked as anybody may ask: by its id, without credentials.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use ipnet::IpNet;
use serde_json::{Value, json};

use crate::cli::client::{plain, segment};
use crate::clock::Clock;
use crate::discovery::{self, Discovery};
use crate::net::{
    AddressFilter, AnswerLimits, GuardOptions, GuardedClient, HickoryResolver, Plain, Times,
    TlsVersions,
};
use crate::protocol::{Address, Domain, GatewayUrl};
use crate::telemetry::Metrics;

const DNS_TIMEOUT: Duration = Duration::from_secs(3);
const LIMITS: AnswerLimits = AnswerLimits {
    size: 256 * 1024,
    time: Duration::from_secs(10),
};

/// The gateways of other domains.
pub(super) struct Peers {
    discovery: Discovery,
    client: GuardedClient,
}

/// What a gateway said.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Said {
    /// It shows the status of the message of this id.
    Status(String, Value),
    /// It answers, but not with a status: strangers do not see it, or it does not know the message.
    Hidden(u16),
    /// It could not be asked.
    Nothing(String),
}

impl Peers {
    /// Asks these DNS servers, or the system's; connects to public addresses and these ranges;
    /// believes the certificates of `ca_file` beside the system's.
    pub(super) fn new(dns: &[SocketAddr], allow: &[IpNet], ca_file: Option<&Path>) -> Result<Self> {
        let clock = Clock::system();
        let resolver = Arc::new(HickoryResolver::new(dns, DNS_TIMEOUT)?);
        let discovery = Discovery::new(resolver.clone(), clock.clone(), Metrics::default());
        let client = GuardedClient::new(GuardOptions {
            resolver,
            filter: AddressFilter::allowing(allow),
            trusted_ca_files: ca_file.map(Path::to_owned).into_iter().collect(),
            client_identity: None,
            tls: TlsVersions::Only13,
            plain: Plain::Refused,
            times: Times::default(),
            clock,
        })?;
        Ok(Self { discovery, client })
    }

    /// What the gateway of a domain says of the first of these ids that it shows.
    pub(super) async fn ask_about(&self, domain: &Domain, ids: &[String]) -> Said {
        let mut said = Said::Nothing("nothing to ask about".to_owned());
        for id in ids {
            said = match self.ask_peer(domain, id).await {
                Ok(said) => said,
                Err(error) => Said::Nothing(format!("{error:#}")),
            };
            if !matches!(said, Said::Hidden(_)) {
                break;
            }
        }
        said
    }

    async fn ask_peer(&self, domain: &Domain, id: &str) -> Result<Said> {
        let found = self.discovery.find(domain).await?;
        let discovery::Answer::Gateways(gateways) = &found.answer else {
            anyhow::bail!("{} has no _amtp record", domain.as_str());
        };
        let mut failed = anyhow::anyhow!("{} names no gateway", domain.as_str());
        for gateway in gateways {
            match self.status(&gateway.gateway, id).await {
                Ok(said) => return Ok(said),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    async fn status(&self, gateway: &GatewayUrl, id: &str) -> Result<Said> {
        let url = gateway.join(&format!("/v1/messages/{}/status", segment(id)));
        let request = Request::get(&url)
            .header("accept", "application/json")
            .header("x-amtp-version", "1.0")
            .header(
                "user-agent",
                concat!("AMTP/1.0 (amtpd/", env!("CARGO_PKG_VERSION"), ")"),
            )
            .body(Full::new(Bytes::new()))
            .context("the gateway's URL")?;
        let answer = self.client.send(request, LIMITS).await?;
        let status = serde_json::from_slice::<Value>(&answer.body)
            .ok()
            .filter(|body| answer.status.is_success() && body["status"].is_string());
        Ok(match status {
            Some(status) => Said::Status(id.to_owned(), status),
            None => Said::Hidden(answer.status.as_u16()),
        })
    }
}

impl Said {
    /// As a member of a hop.
    pub(super) fn json(&self, recipient: &Address) -> Value {
        let domain = recipient.domain().as_str();
        match self {
            Self::Status(id, status) => {
                let rows = status["recipients"].as_array().into_iter().flatten();
                let own = |row: &&Value| {
                    let address = row["address"].as_str().map(Address::parse);
                    address.is_some_and(|it| it.is_ok_and(|it| it == *recipient))
                };
                let row = rows.into_iter().find(own).unwrap_or(status);
                json!({
                    "domain": domain, "shown": true, "message_id": id,
                    "status": row["status"], "timestamp": row["timestamp"],
                    "error_code": row["error_code"],
                })
            }
            Self::Hidden(code) => json!({ "domain": domain, "shown": false, "http_status": code }),
            Self::Nothing(reason) => {
                json!({ "domain": domain, "shown": false, "reason": reason })
            }
        }
    }
}

/// What was said, for people.
pub(super) fn in_words(peer: &Value) -> String {
    let domain = plain(&peer["domain"]);
    if peer["shown"] == Value::Bool(true) {
        let mut text = format!(
            "{domain} says of {}: {}",
            plain(&peer["message_id"]),
            plain(&peer["status"])
        );
        super::add(&mut text, " since ", &peer["timestamp"]);
        super::add(&mut text, ", ", &peer["error_code"]);
        return text;
    }
    match peer["reason"].as_str() {
        Some(_) => format!("{domain} could not be asked: {}", plain(&peer["reason"])),
        None => format!(
            "{domain} does not show it (it answered {})",
            plain(&peer["http_status"])
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn a_shown_status_is_that_of_the_recipient() {
        let status = json!({ "status": "partial", "recipients": [
            { "address": "y@b.test", "status": "failed", "error_code": "AGENT_UNKNOWN" },
            { "address": "X@b.test", "status": "delivered", "timestamp": "2026-01-01T00:00:00.000Z" },
        ]});
        let said = Said::Status("w-1".to_owned(), status.clone());
        let peer = said.json(&address("x@b.test"));
        assert_eq!(
            in_words(&peer),
            "b.test says of w-1: delivered since 2026-01-01T00:00:00.000Z"
        );
        let other = said.json(&address("z@b.test"));
        assert_eq!(in_words(&other), "b.test says of w-1: partial");
    }

    #[test]
    fn what_is_not_shown_is_said_to_be_so() {
        let hidden = Said::Hidden(401).json(&address("x@b.test"));
        assert_eq!(
            in_words(&hidden),
            "b.test does not show it (it answered 401)"
        );
        let nothing = Said::Nothing("no\u{7} DNS".to_owned()).json(&address("x@b.test"));
        assert_eq!(
            in_words(&nothing),
            "b.test could not be asked: no\u{fffd} DNS"
        );
    }
}
