//! The description of an agent as an operator or the agent itself sends it, checked field by field.

mod a2a;
mod group;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use axum::http::{HeaderName, HeaderValue, Uri};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::endpoint::http::error::ApiError;
use crate::endpoint::http::extract::invalid_field;
use crate::protocol::{Address, AgentName, Domain, SchemaPattern, is_reserved};
use crate::store::{
    AgentKind, AgentSettings, Bounds, DeliveryMode, GroupSettings, Replies, Sealer, SessionOrder,
    SessionSharing, TopicSettings, WEBHOOK_HEADERS,
};

const MOST_ENTRIES: usize = 100;
const LONGEST_TEXT: usize = 1_000;
/// In characters.
const LONGEST_NAME: usize = 60;
/// What a topic may keep: for a year, and so many publications.
const LONGEST_RETENTION: u64 = 366 * 86_400;
const MOST_KEPT: u64 = 100_000;

/// The members of an agent that can be set. Absent = leave as it is.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgentForm {
    pub(crate) address: Option<String>,
    pub(crate) delivery_mode: Option<DeliveryMode>,
    #[serde(default, deserialize_with = "given")]
    pub(crate) push_target: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    pub(crate) headers: Option<Option<BTreeMap<String, String>>>,
    pub(crate) supported_schemas: Option<Vec<String>>,
    pub(crate) capabilities: Option<Vec<String>>,
    #[serde(default, deserialize_with = "given")]
    pub(crate) role: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    pub(crate) description: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    pub(crate) display_name: Option<Option<String>>,
    pub(crate) listed: Option<bool>,
    pub(crate) replies: Option<Replies>,
    #[serde(default, deserialize_with = "given_object")]
    pub(crate) live: Option<Option<LiveForm>>,
    pub(crate) kind: Option<AgentKind>,
    #[serde(default, deserialize_with = "given_object")]
    pub(crate) topic: Option<Option<TopicSettings>>,
    pub(crate) active: Option<bool>,
    #[serde(default, deserialize_with = "given_object")]
    pub(crate) bounds: Option<Option<Bounds>>,
    #[serde(default, deserialize_with = "given_object")]
    pub(crate) group: Option<Option<GroupSettings>>,
    #[serde(default, deserialize_with = "given")]
    pub(crate) a2a: Option<Option<serde_json::Map<String, serde_json::Value>>>,
}

/// How sessions share the mail. Absent = leave as it is.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LiveForm {
    sessions: Option<SessionSharing>,
    order: Option<SessionOrder>,
}

/// Tells "absent" from "null": null takes a member away.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(from).map(Some)
}

/// The same of what has members of its own: a list is not taken for them.
fn given_object<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    from: D,
) -> Result<Option<Option<T>>, D::Error> {
    let Some(members) = Option::<Map<String, Value>>::deserialize(from)? else {
        return Ok(Some(None));
    };
    let read = T::deserialize(Value::Object(members));
    read.map(|value| Some(Some(value)))
        .map_err(D::Error::custom)
}

impl AgentForm {
    /// The settings after this form; the first field that is wrong is named.
    pub(crate) fn apply(&self, mut settings: AgentSettings) -> Result<AgentSettings, ApiError> {
        if let Some(mode) = self.delivery_mode {
            settings.delivery_mode = mode;
        }
        if let Some(target) = &self.push_target {
            settings.push_target = target.clone();
        }
        if let Some(patterns) = &self.supported_schemas {
            settings.supported_schemas = schemas(patterns)?;
        }
        if let Some(capabilities) = &self.capabilities {
            bounded("capabilities", capabilities)?;
            settings.capabilities.clone_from(capabilities);
        }
        if let Some(role) = &self.role {
            settings.role = text("role", role.as_ref())?;
        }
        if let Some(description) = &self.description {
            settings.description = text("description", description.as_ref())?;
        }
        if let Some(name) = &self.display_name {
            settings.display_name = display_name(name.as_deref())?;
        }
        settings.listed = self.listed.unwrap_or(settings.listed);
        settings.replies = self.replies.unwrap_or(settings.replies);
        if let Some(Some(live)) = &self.live {
            settings.live.sessions = live.sessions.unwrap_or(settings.live.sessions);
            settings.live.order = live.order.unwrap_or(settings.live.order);
        }
        settings.kind = self.kind.unwrap_or(settings.kind);
        if let Some(topic) = self.topic {
            settings.topic = topic;
        }
        if let Some(bounds) = &self.bounds {
            settings.bounds = bounds.unwrap_or_default();
            group::bounds(&settings.bounds)?;
        }
        if let Some(group) = &self.group {
            settings.group.clone_from(group);
        }
        if let Some(a2a) = &self.a2a {
            settings.a2a = a2a::apply(&settings.a2a, a2a.as_ref())?;
        }
        push(&settings)?;
        kind(&settings)?;
        group::check(&settings)?;
        Ok(settings)
    }

    /// The new sealed headers, if the form speaks of headers.
    pub(crate) fn sealed_headers(
        &self,
        sealer: Option<&Sealer>,
    ) -> Result<Option<Option<Vec<u8>>>, ApiError> {
        let Some(headers) = &self.headers else {
            return Ok(None);
        };
        let Some(headers) = headers.as_ref().filter(|headers| !headers.is_empty()) else {
            return Ok(Some(None));
        };
        check_headers(headers)?;
        let sealer = sealer.ok_or_else(|| {
            invalid_field(
                "headers",
                "need `secrets.key_file` in the configuration: they are stored sealed",
            )
        })?;
        let plain = serde_json::to_vec(headers)
            .map_err(|fault| invalid_field("headers", &fault.to_string()))?;
        Ok(Some(Some(sealer.seal(WEBHOOK_HEADERS, &plain))))
    }
}

/// What an agent with a webhook needs of the configuration: the key that its secret comes from.
pub(crate) fn signing(sealer: Option<&Sealer>) -> Result<&Sealer, ApiError> {
    sealer.ok_or_else(|| {
        invalid_field(
            "delivery_mode",
            "push needs `secrets.key_file` in the configuration: what goes to webhooks is signed",
        )
    })
}

/// What is wrong with a form, in words.
pub(crate) fn in_words(error: &ApiError) -> String {
    let said = error.said();
    let faults = said
        .details
        .and_then(|it| it["validation_errors"].as_array());
    let words = faults.into_iter().flatten().map(|fault| {
        let text = |member: &str| fault[member].as_str().unwrap_or_default();
        format!("{} {}", text("field"), text("error"))
    });
    let words: Vec<String> = words.collect();
    match words.is_empty() {
        true => said.message.to_owned(),
        false => words.join("; "),
    }
}

/// A name or full address of ours, for a new agent.
pub(crate) fn address(
    text: Option<&str>,
    main: &Domain,
    is_local: impl Fn(&Domain) -> bool,
) -> Result<(Domain, AgentName), ApiError> {
    let text =
        text.ok_or_else(|| invalid_field("address", "is required: a name or name@domain"))?;
    let (local, domain) = match text.rsplit_once('@') {
        None => (text, main.clone()),
        Some((local, domain)) => {
            let domain = Domain::parse(domain)
                .map_err(|fault| invalid_field("address", &fault.to_string()))?;
            (local, domain)
        }
    };
    if !is_local(&domain) {
        return Err(invalid_field(
            "address",
            "is not of a domain of this gateway",
        ));
    }
    let name =
        AgentName::parse(local).map_err(|fault| invalid_field("address", &fault.to_string()))?;
    if is_reserved(name.as_str()) {
        return Err(invalid_field("address", "is a reserved name"));
    }
    Ok((domain, name))
}

fn push(settings: &AgentSettings) -> Result<(), ApiError> {
    match (settings.delivery_mode, &settings.push_target) {
        (DeliveryMode::Pull, None) => Ok(()),
        (DeliveryMode::Pull, Some(_)) => Err(invalid_field(
            "push_target",
            "only goes with delivery_mode push, a2a and peer",
        )),
        (DeliveryMode::Push | DeliveryMode::A2a | DeliveryMode::Peer, None) => Err(invalid_field(
            "push_target",
            "is required with delivery_mode push, a2a and peer",
        )),
        (DeliveryMode::Push, Some(target)) => web_address(target),
        (DeliveryMode::A2a, Some(target)) => a2a_address(target),
        (DeliveryMode::Peer, Some(target)) => match Address::parse(target) {
            Ok(_) => Ok(()),
            Err(fault) => Err(invalid_field("push_target", &fault.to_string())),
        },
    }
}

/// What goes with the kind of an address only.
fn kind(settings: &AgentSettings) -> Result<(), ApiError> {
    let is_topic = settings.kind == AgentKind::Topic;
    if is_topic && settings.delivery_mode != DeliveryMode::Pull {
        return Err(invalid_field("delivery_mode", "a topic has no webhook"));
    }
    let Some(kept) = &settings.topic else {
        return Ok(());
    };
    if !is_topic {
        return Err(invalid_field("topic", "only goes with kind topic"));
    }
    if kept
        .retention_seconds
        .is_some_and(|seconds| !(1..=LONGEST_RETENTION).contains(&seconds))
    {
        let error = format!("must be 1 to {LONGEST_RETENTION}");
        return Err(invalid_field("topic.retention_seconds", &error));
    }
    if kept
        .keep
        .is_some_and(|keep| !(1..=MOST_KEPT).contains(&keep))
    {
        let error = format!("must be 1 to {MOST_KEPT}");
        return Err(invalid_field("topic.keep", &error));
    }
    Ok(())
}

fn web_address(target: &str) -> Result<(), ApiError> {
    let fits = target.len() <= 2_000
        && target.parse::<Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("https" | "http" | "wss"))
                && uri
                    .authority()
                    .is_some_and(|authority| !authority.as_str().contains('@'))
        });
    fits.then_some(()).ok_or_else(|| {
        invalid_field(
            "push_target",
            "must be an absolute http, https or wss URL without user information",
        )
    })
}

/// Where an A2A agent of others is: its card is looked for below.
fn a2a_address(target: &str) -> Result<(), ApiError> {
    web_address(target)?;
    match target.starts_with("wss:") || target.contains(['?', '#']) {
        true => Err(invalid_field(
            "push_target",
            "must be an https or http URL without a query with delivery_mode a2a",
        )),
        false => Ok(()),
    }
}

fn schemas(patterns: &[String]) -> Result<Vec<SchemaPattern>, ApiError> {
    bounded("supported_schemas", patterns)?;
    let parsed = patterns.iter().enumerate().map(|(at, text)| {
        SchemaPattern::parse(text)
            .map_err(|fault| invalid_field(&format!("supported_schemas[{at}]"), &fault.to_string()))
    });
    parsed.collect()
}

fn bounded(field: &str, entries: &[String]) -> Result<(), ApiError> {
    if entries.len() > MOST_ENTRIES {
        return Err(invalid_field(
            field,
            &format!("has more than {MOST_ENTRIES} entries"),
        ));
    }
    for (at, entry) in entries.iter().enumerate() {
        if entry.is_empty() || entry.len() > 255 || entry.chars().any(char::is_control) {
            return Err(invalid_field(
                &format!("{field}[{at}]"),
                "must have 1 to 255 bytes and no control characters",
            ));
        }
    }
    Ok(())
}

fn text(field: &str, value: Option<&String>) -> Result<Option<String>, ApiError> {
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    if value.len() > LONGEST_TEXT || value.chars().any(char::is_control) {
        return Err(invalid_field(
            field,
            &format!("must have at most {LONGEST_TEXT} bytes and no control characters"),
        ));
    }
    Ok(Some(value.clone()))
}

/// A name for people. It stands in the `From` of mail, so it may not look like an address or hide
/// something.
fn display_name(name: Option<&str>) -> Result<Option<String>, ApiError> {
    let Some(name) = name.map(str::trim).filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let blank = |c: char| c.is_whitespace() && c != ' ';
    let sound = |c: char| !c.is_control() && !blank(c) && !turns(c) && !"<>@\"\\".contains(c);
    if name.chars().count() > LONGEST_NAME || !name.chars().all(sound) {
        return Err(invalid_field(
            "display_name",
            &format!(
                "must have at most {LONGEST_NAME} characters, no control characters and none of < > @ \" \\"
            ),
        ));
    }
    Ok(Some(name.to_owned()))
}

/// Whether a character is not seen and changes how others are: marks of direction, and U+FEFF.
const fn turns(c: char) -> bool {
    matches!(
        c,
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
    )
}

fn check_headers(headers: &BTreeMap<String, String>) -> Result<(), ApiError> {
    if headers.len() > 20 {
        return Err(invalid_field("headers", "has more than 20 entries"));
    }
    for (name, value) in headers {
        let named = format!("headers.{name}");
        let Ok(parsed) = HeaderName::try_from(name.as_str()) else {
            return Err(invalid_field(&named, "is not a header name"));
        };
        let ours = matches!(
            parsed.as_str(),
            "host"
                | "content-length"
                | "content-type"
                | "transfer-encoding"
                | "connection"
                | "upgrade"
                | "user-agent"
                | "expect"
                | "te"
                | "trailer"
                | "keep-alive"
        ) || parsed.as_str().starts_with("webhook-")
            || parsed.as_str().starts_with("x-amtp-");
        if ours {
            return Err(invalid_field(&named, "is set by the gateway"));
        }
        if value.len() > 4_096 || HeaderValue::try_from(value.as_str()).is_err() {
            return Err(invalid_field(
                &named,
                "is not a header value of at most 4096 bytes",
            ));
        }
    }
    Ok(())
}
