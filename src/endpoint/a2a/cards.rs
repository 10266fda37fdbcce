//! Cards as they are served: to whom, in which form, and for how long they may be kept.

use http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH, LAST_MODIFIED, VARY};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use axum::body::Body;

use super::card::{Card, CardKey, Form, Offer, Reader, card};
use super::dialect::error::{A2aError, Kind};
use super::dialect::version::Asked;
use super::place::{Place, Wanted};
use super::reply;
use super::tools::{A2a, Visitor};
use crate::config::LegacyCard;
use crate::protocol::Timestamp;
use crate::store::{A2aAccess, Agent};
use crate::task::{Dialect, Json};

impl A2a {
    /// The card at a place.
    pub async fn card(&self, place: &Place, visitor: &Visitor) -> Response<Body> {
        let old = matches!(place.wanted, Wanted::Card { old: true });
        let served = match self.agent(place).await {
            Ok(Some(agent)) if agent.active => self.served(&agent, old, visitor),
            Ok(_) => Err(A2aError::new(Kind::NoAgent, "there is no such agent")),
            Err(error) => Err(error),
        };
        served.unwrap_or_else(|error| reply::rest_error(&error, visitor))
    }

    /// The card of the agent that stands for the gateway.
    pub async fn default_card(&self, old: bool, visitor: &Visitor) -> Response<Body> {
        let agent = self.rules.default_agent.as_ref().map(|address| {
            let name = address.local().to_owned();
            (Some(address.domain().clone()), name)
        });
        let place = Place {
            agent,
            wanted: Wanted::Card { old },
        };
        self.card(&place, visitor).await
    }

    /// The public halves of the keys that sign cards.
    #[must_use]
    pub fn card_keys(&self) -> Value {
        match &self.keys {
            Some(keys) => keys.published(),
            None => json!({ "keys": [] }),
        }
    }

    /// What a list of agents says of one.
    #[must_use]
    pub fn entry(&self, agent: &Agent) -> Value {
        let base = self.base(agent);
        json!({
            "name": agent.address.local(),
            "address": agent.address.as_str(),
            "description": agent.settings.description,
            "access": agent.settings.a2a.access,
            "url": format!("{base}/"),
            "card": format!("{base}/.well-known/agent-card.json"),
        })
    }

    fn served(
        &self,
        agent: &Agent,
        old: bool,
        visitor: &Visitor,
    ) -> Result<Response<Body>, A2aError> {
        let form = match (old, self.rules.legacy_card, visitor.version()) {
            (_, LegacyCard::Merge, _) => Form::Merged,
            (true, ..) | (_, _, Asked::Version(0, _)) => Form::V03,
            _ => Form::V1,
        };
        let card = self.written(agent, Reader::Anybody, form)?;
        let etag = HeaderValue::from_str(&card.etag);
        let mut answer = match visitor.text(IF_NONE_MATCH.as_str()) {
            Some(known) if names(known, &card.etag) => {
                let mut answer = Response::new(Body::empty());
                *answer.status_mut() = StatusCode::NOT_MODIFIED;
                answer
            }
            _ => reply::json(StatusCode::OK, reply::JSON, card.body),
        };
        let seconds = self.rules.card_max_age.as_secs();
        let headers = answer.headers_mut();
        if let Ok(etag) = etag {
            headers.insert(ETAG, etag);
        }
        if let Ok(value) = HeaderValue::try_from(format!("public, max-age={seconds}")) {
            headers.insert(CACHE_CONTROL, value);
        }
        if let Ok(value) = HeaderValue::try_from(http_date(agent.updated_at)) {
            headers.insert(LAST_MODIFIED, value);
        }
        headers.insert(VARY, HeaderValue::from_static("a2a-version"));
        Ok(answer)
    }

    /// The card that somebody gets who asks for it by an operation.
    pub(super) fn card_of(
        &self,
        agent: &Agent,
        reader: Reader,
        dialect: Dialect,
    ) -> Result<Json, A2aError> {
        let form = match dialect {
            Dialect::V1 => Form::V1,
            Dialect::V03 | Dialect::V01 => Form::V03,
        };
        let card = self.written(agent, reader, form)?;
        let read = Json::read(&card.body);
        read.map_err(|_| A2aError::new(Kind::Internal, "the card could not be made"))
    }

    fn written(&self, agent: &Agent, reader: Reader, form: Form) -> Result<Card, A2aError> {
        let base = self.base(agent);
        let organization = self.rules.organization.as_deref();
        let offer = Offer {
            base: &base,
            provider: organization.map(|name| (name, self.gateway.as_str())),
            authenticated: agent.settings.a2a.access != A2aAccess::Public,
            pushes: self.posts(),
            extended: self.rules.extended_card,
        };
        let fault = |fault: super::card::CardKeyFault| {
            let mut error = A2aError::new(Kind::Internal, "the card could not be signed");
            error.cause = Some(fault.to_string().into());
            error
        };
        let signer = self.keys.as_ref().and_then(crate::auth::KeyRing::signer);
        let set = format!("{}/.well-known/jwks.json", self.gateway);
        let key = signer.map(|it| CardKey::new((&it.id, &set), &it.private));
        let key = key.transpose().map_err(fault)?;
        card((agent, &offer), reader, form, key.as_ref()).map_err(fault)
    }
}

/// A date as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(moment: Timestamp) -> String {
    let moment = jiff::Timestamp::from_millisecond(moment.as_millis()).unwrap_or_default();
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&moment);
    date.unwrap_or_default()
}

/// Whether a header names a tag: weak or not does not matter, nor does what else it names.
fn names(header: &str, etag: &str) -> bool {
    let mut tags = header.split(',').map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}
