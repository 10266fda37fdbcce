//! Agent cards of others: where an agent is asked, and how. Pure.
//!
//! Of the interfaces a card offers the first that is understood is taken: JSON-RPC or HTTP+JSON of A2A
//! 1.0, else JSON-RPC of 0.3 (or 0.2, which differs little).

use serde::{Deserialize, Serialize};

use crate::task::bounds::{LONGEST_URL, MOST_NAMES};
use crate::task::{AMTP_EXTENSION, Fault, Object, Place, read};

/// How requests are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Binding {
    /// JSON-RPC of A2A 1.0.
    #[serde(rename = "rpc")]
    Rpc,
    /// HTTP+JSON of A2A 1.0.
    #[serde(rename = "rest")]
    Rest,
    /// JSON-RPC of A2A 0.3.
    #[serde(rename = "old")]
    OldRpc,
}

/// Where an agent is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Interface {
    /// Where, without a slash at its end.
    pub(super) url: String,
    /// How.
    pub(super) binding: Binding,
    /// What every request says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tenant: Option<String>,
    /// Whether the agent calls back.
    pub(super) calls_back: bool,
}

/// Reads a card. Interfaces at places that `may` not be asked are passed over.
///
/// # Errors
/// It is no card, or offers nothing that is understood; in words for the operator.
pub(super) fn interface(card: &str, may: impl Fn(&str) -> bool) -> Result<Interface, String> {
    let object = Place::top(card, "").object().map_err(no_card)?;
    let (offers, calls_back) = offers(&object).map_err(no_card)?;
    if offers.is_empty() {
        return Err("the agent card offers no interface of A2A 1.0 or 0.3 over JSON".to_owned());
    }
    let new = offers.iter().filter(|it| it.binding != Binding::OldRpc);
    let old = offers.iter().filter(|it| it.binding == Binding::OldRpc);
    let chosen = new.chain(old).find(|it| may(&it.url));
    let chosen = chosen.ok_or_else(|| {
        "the agent card leads to other hosts than the target's, where the configured headers do not go"
            .to_owned()
    })?;
    Ok(Interface {
        url: chosen.url.trim_end_matches('/').to_owned(),
        binding: chosen.binding,
        tenant: chosen.tenant.clone(),
        calls_back,
    })
}

fn no_card(fault: Fault) -> String {
    format!("the agent card cannot be read: {fault}")
}

struct Offer {
    url: String,
    binding: Binding,
    tenant: Option<String>,
}

fn offers(card: &Object<'_>) -> Result<(Vec<Offer>, bool), Fault> {
    let mut offers = Vec::new();
    for place in card.list("supportedInterfaces", MOST_NAMES)? {
        offers.extend(offer(&place.object()?)?);
    }
    // A card of 0.3, or one of both.
    if card.get("url").is_some() {
        offers.extend(old_offers(card)?);
    }
    let mut calls_back = false;
    if let Some(place) = card.get("capabilities") {
        let capabilities = place.object()?;
        calls_back = read::flag(&capabilities, "pushNotifications")?;
        required(&capabilities)?;
    }
    Ok((offers, calls_back))
}

/// What an agent asks for that this gateway does not know.
fn required(capabilities: &Object<'_>) -> Result<(), Fault> {
    for place in capabilities.list("extensions", MOST_NAMES)? {
        let extension = place.object()?;
        let uri = extension.name("uri")?.unwrap_or_default();
        if read::flag(&extension, "required")? && uri != AMTP_EXTENSION {
            return Err(place.fault(format_args!("is required and not known here: {uri}")));
        }
    }
    Ok(())
}

fn offer(interface: &Object<'_>) -> Result<Option<Offer>, Fault> {
    let version = interface.name("protocolVersion")?.unwrap_or_default();
    let binding = interface.name("protocolBinding")?.unwrap_or_default();
    let binding = match (major_minor(&version), binding.as_str()) {
        (Some("1.0" | "1"), "JSONRPC") => Binding::Rpc,
        (Some("1.0" | "1"), "HTTP+JSON") => Binding::Rest,
        (Some("0.3" | "0.2"), "JSONRPC") => Binding::OldRpc,
        _ => return Ok(None),
    };
    Ok(Some(Offer {
        url: url(interface)?,
        binding,
        tenant: interface.name("tenant")?,
    }))
}

fn old_offers(card: &Object<'_>) -> Result<Vec<Offer>, Fault> {
    let version = card.name("protocolVersion")?;
    let old = version.as_deref().is_none_or(|it| it.starts_with("0."));
    let rpc = |name: Option<String>| name.is_none_or(|it| it == "JSONRPC");
    let mut offers = Vec::new();
    if old && rpc(card.name("preferredTransport")?) {
        offers.push(url(card)?);
    }
    for place in card.list("additionalInterfaces", MOST_NAMES)? {
        let interface = place.object()?;
        if old && interface.name("transport")?.as_deref() == Some("JSONRPC") {
            offers.push(url(&interface)?);
        }
    }
    let offer = |url| Offer {
        url,
        binding: Binding::OldRpc,
        tenant: None,
    };
    Ok(offers.into_iter().map(offer).collect())
}

fn url(object: &Object<'_>) -> Result<String, Fault> {
    let place = object.required("url")?;
    let url = read::receiver(&place)?;
    let clean = url.len() <= LONGEST_URL && !url.contains(['?', '#', '@']);
    clean
        .then_some(url)
        .ok_or_else(|| place.fault("must be a URL without a query or user information"))
}

/// `1.0` of `1.0.1`.
fn major_minor(version: &str) -> Option<&str> {
    let mut dots = version.match_indices('.').map(|(at, _)| at);
    dots.next();
    let end = dots.next().unwrap_or(version.len());
    (!version.is_empty()).then(|| &version[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(card: &str) -> Result<(String, Binding, bool), String> {
        let it = interface(card, |url| !url.contains("elsewhere"))?;
        Ok((it.url, it.binding, it.calls_back))
    }

    #[test]
    fn the_newest_interface_that_is_understood_is_taken() {
        let one = |interfaces: &str| {
            format!(
                r#"{{"name":"x","supportedInterfaces":[{interfaces}],"capabilities":{{"pushNotifications":true}}}}"#
            )
        };
        let rpc =
            r#"{"url":"https://x.test/a/","protocolBinding":"JSONRPC","protocolVersion":"1.0"}"#;
        let rest = r#"{"url":"https://x.test/r","protocolBinding":"HTTP+JSON","protocolVersion":"1.0.1","tenant":"t"}"#;
        let grpc = r#"{"url":"https://x.test/g","protocolBinding":"GRPC","protocolVersion":"1.0"}"#;
        let old =
            r#"{"url":"https://x.test/o","protocolBinding":"JSONRPC","protocolVersion":"0.3"}"#;
        let late =
            r#"{"url":"https://x.test/n","protocolBinding":"JSONRPC","protocolVersion":"1.1"}"#;
        let away = r#"{"url":"https://elsewhere.test/","protocolBinding":"JSONRPC","protocolVersion":"1.0"}"#;
        for (interfaces, url, binding) in [
            ([rpc, rest].join(","), "https://x.test/a", Binding::Rpc),
            (
                [grpc, rest, rpc].join(","),
                "https://x.test/r",
                Binding::Rest,
            ),
            ([old, rpc].join(","), "https://x.test/a", Binding::Rpc),
            ([late, old].join(","), "https://x.test/o", Binding::OldRpc),
            ([away, old].join(","), "https://x.test/o", Binding::OldRpc),
        ] {
            let expected = Ok((url.to_owned(), binding, true));
            assert_eq!(found(&one(&interfaces)), expected, "{interfaces}");
        }
        for interfaces in [String::new(), grpc.to_owned(), late.to_owned()] {
            let text = found(&one(&interfaces)).unwrap_err();
            assert!(text.contains("offers no interface"), "{text}");
        }
        assert!(found(&one(away)).unwrap_err().contains("other hosts"));
        let tenant = interface(&one(rest), |_| true).unwrap().tenant;
        assert_eq!(tenant.as_deref(), Some("t"));
    }

    #[test]
    fn cards_of_0_3_are_read() {
        for (card, url) in [
            (
                r#"{"name":"x","url":"http://x.test","protocolVersion":"0.3.0","preferredTransport":"JSONRPC"}"#,
                "http://x.test",
            ),
            (r#"{"name":"x","url":"http://x.test/"}"#, "http://x.test"),
            (
                r#"{"url":"http://x.test/g","protocolVersion":"0.3.0","preferredTransport":"GRPC",
                    "additionalInterfaces":[{"url":"http://x.test/j","transport":"JSONRPC"}]}"#,
                "http://x.test/j",
            ),
        ] {
            assert_eq!(found(card), Ok((url.to_owned(), Binding::OldRpc, false)));
        }
    }

    #[test]
    fn what_is_no_card_is_told() {
        for (card, words) in [
            ("[]", "must be an object"),
            ("{", "must be an object"),
            (
                r#"{"supportedInterfaces":1}"#,
                "supportedInterfaces must be an array",
            ),
            (
                r#"{"supportedInterfaces":[{"protocolBinding":"JSONRPC","protocolVersion":"1.0"}]}"#,
                "url is required",
            ),
            (
                r#"{"url":"file:///etc/passwd"}"#,
                "must be an http or https URL",
            ),
            (r#"{"url":"https://a@x.test/"}"#, "without user information"),
            (
                r#"{"url":"https://x.test/","capabilities":{"extensions":[{"uri":"urn:pay","required":true}]}}"#,
                "not known here: urn:pay",
            ),
        ] {
            let text = found(card).unwrap_err();
            assert!(text.contains(words), "{card}: {text}");
        }
    }
}
