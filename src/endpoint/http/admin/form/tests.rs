//! Forms of agents: what is taken and what is refused.

use super::*;
use crate::protocol::ErrorCode;

fn sealed(headers: &str) -> Result<Option<Option<Vec<u8>>>, ApiError> {
    let sealer = Sealer::new("BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=").unwrap();
    let form = format!(r#"{{"headers":{headers}}}"#);
    let form: AgentForm = serde_json::from_str(&form).unwrap();
    form.sealed_headers(Some(&sealer))
}

#[test]
fn an_agent_cannot_set_the_headers_that_the_gateway_sets() {
    for name in ["User-Agent", "Webhook-Signature", "X-AMTP-Hops", "Host"] {
        let headers = format!(r#"{{"{name}":"x"}}"#);
        let refused = sealed(&headers).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::InvalidParameter, "{name}");
    }
    let taken = sealed(r#"{"Authorization":"Bearer x"}"#).unwrap();
    assert!(taken.flatten().is_some());
    assert_eq!(sealed("null").unwrap(), Some(None));
}

#[test]
fn sessions_and_what_the_gateway_dials_are_set_member_by_member() {
    let apply = |form: &str, settings| {
        let form: AgentForm = serde_json::from_str(form).unwrap();
        form.apply(settings)
    };
    let copies = apply(r#"{"live":{"sessions":"copies"}}"#, AgentSettings::fresh()).unwrap();
    let free = apply(r#"{"live":{"order":"none"}}"#, copies).unwrap();
    assert_eq!(free.live.sessions, SessionSharing::Copies);
    assert_eq!(free.live.order, SessionOrder::None);
    for list in [
        r#"{"live":[null,null]}"#,
        r#"{"bounds":[1]}"#,
        r#"{"group":[[]]}"#,
    ] {
        assert!(serde_json::from_str::<AgentForm>(list).is_err(), "{list}");
    }
    for (target, fits) in [
        ("wss://agent.test/amtp", true),
        ("ws://agent.test/amtp", false),
        ("wss://me@agent.test/", false),
        ("wss:/agent.test", false),
    ] {
        let form = format!(r#"{{"delivery_mode":"push","push_target":"{target}"}}"#);
        let applied = apply(&form, AgentSettings::fresh());
        assert_eq!(applied.is_ok(), fits, "{target}");
        if let Ok(settings) = applied {
            assert_eq!(settings.dials(), Some(target));
        }
    }
    assert!(serde_json::from_str::<AgentForm>(r#"{"live":{"sessions":"many"}}"#).is_err());
    assert!(serde_json::from_str::<AgentForm>(r#"{"live":{"session":"shared"}}"#).is_err());
}

#[test]
fn a_display_name_is_for_people_and_never_more_than_a_name() {
    let apply = |name: &str| {
        let form = serde_json::json!({ "display_name": name }).to_string();
        let form: AgentForm = serde_json::from_str(&form).unwrap();
        form.apply(AgentSettings::fresh())
            .map(|settings| settings.display_name)
    };
    let long = "ü".repeat(60);
    for (name, kept) in [
        ("Northwind purchasing", Some("Northwind purchasing")),
        ("  Zoë's bot, day & night ", Some("Zoë's bot, day & night")),
        (long.as_str(), Some(long.as_str())),
        ("", None),
        (" ", None),
    ] {
        assert_eq!(apply(name).unwrap().as_deref(), kept, "{name}");
    }
    for name in [
        "a\r\nBcc: eve@evil.example",
        "a\u{2028}b",
        "a\0b",
        "boss <boss@bank.example>",
        "boss@bank.example",
        "a\" b",
        "a\\",
        "\u{202e}ssob",
        "\u{feff}a",
        &"x".repeat(61),
    ] {
        let refused = apply(name).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::InvalidParameter, "{name:?}");
    }
    let named = AgentSettings {
        display_name: Some("x".to_owned()),
        ..AgentSettings::fresh()
    };
    let form: AgentForm = serde_json::from_str(r#"{"display_name":null}"#).unwrap();
    assert_eq!(form.apply(named).unwrap().display_name, None);
}

#[test]
fn without_a_sealing_key_no_agent_can_be_pushed_to() {
    let refused = signing(None).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InvalidParameter);
    assert!(format!("{refused:?}").contains("secrets.key_file"));
}
