//! Groups and bounds in the description of an agent.

use std::collections::HashSet;

use crate::endpoint::http::error::ApiError;
use crate::endpoint::http::extract::invalid_field;
use crate::store::{AgentKind, AgentSettings, Bounds, DeliveryMode, MOST_MEMBERS};

/// A bound of nothing would take nothing; one beyond this is none.
const MOST: u64 = 1 << 50;

/// A group polls and has members; nobody else has.
pub(super) fn check(settings: &AgentSettings) -> Result<(), ApiError> {
    let Some(group) = &settings.group else {
        return match settings.kind {
            AgentKind::Group => Err(invalid_field("group", "is required with kind group")),
            _ => Ok(()),
        };
    };
    if settings.kind != AgentKind::Group {
        return Err(invalid_field("group", "only goes with kind group"));
    }
    if settings.delivery_mode != DeliveryMode::Pull {
        return Err(invalid_field(
            "delivery_mode",
            "must be pull for a group: its members have webhooks or read its mailbox",
        ));
    }
    if group.members.is_empty() || group.members.len() > MOST_MEMBERS {
        return Err(invalid_field(
            "group.members",
            &format!("must hold 1 to {MOST_MEMBERS} addresses"),
        ));
    }
    let mut seen = HashSet::new();
    for (at, member) in group.members.iter().enumerate() {
        if !seen.insert(member.key()) {
            return Err(invalid_field(
                &format!("group.members[{at}]"),
                "is named before",
            ));
        }
    }
    Ok(())
}

/// Every bound is above nothing.
pub(super) fn bounds(bounds: &Bounds) -> Result<(), ApiError> {
    for (name, value) in [
        ("bounds.messages", bounds.messages),
        ("bounds.bytes", bounds.bytes),
        ("bounds.age_seconds", bounds.age_seconds),
    ] {
        if value.is_some_and(|value| value == 0 || value > MOST) {
            return Err(invalid_field(
                name,
                &format!("must be a number from 1 to {MOST}, or null for no bound"),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::endpoint::http::admin::form::AgentForm;
    use crate::protocol::ErrorCode;
    use crate::store::{AgentSettings, Spread, WhenFull};

    fn applied(form: &str) -> Result<AgentSettings, String> {
        let form: AgentForm = serde_json::from_str(form).map_err(|fault| fault.to_string())?;
        form.apply(AgentSettings::fresh()).map_err(|error| {
            assert_eq!(error.code(), ErrorCode::InvalidParameter);
            format!("{error:?}")
        })
    }

    #[test]
    fn a_group_and_bounds_are_taken_as_they_are_described() {
        let group = r#"{"kind":"group","group":{"members":["a@x.test","b@x.test"],"spread":"least_outstanding"},
            "bounds":{"messages":10,"bytes":1000,"age_seconds":60,"when_full":"dead_letter"}}"#;
        let settings = applied(group).unwrap();
        assert_eq!(settings.group.unwrap().spread, Spread::LeastOutstanding);
        assert_eq!(settings.bounds.when_full, Some(WhenFull::DeadLetter));
    }

    #[test]
    fn what_does_not_fit_together_is_named() {
        for (form, named) in [
            (r#"{"kind":"group"}"#, "group"),
            (r#"{"group":{"members":["a@x.test"]}}"#, "kind group"),
            (
                r#"{"kind":"group","group":{"members":[]}}"#,
                "group.members",
            ),
            (
                r#"{"kind":"group","group":{"members":["a@x.test","A@x.test"]}}"#,
                "group.members[1]",
            ),
            (r#"{"kind":"group","group":{"members":["nobody"]}}"#, ""),
            (
                r#"{"kind":"group","group":{"members":["a@x.test"],"spread":"dice"}}"#,
                "dice",
            ),
            (
                r#"{"kind":"group","delivery_mode":"push","push_target":"https://x.test/","group":{"members":["a@x.test"]}}"#,
                "delivery_mode",
            ),
            (r#"{"bounds":{"messages":0}}"#, "bounds.messages"),
            (r#"{"bounds":{"bytes":-1}}"#, "-1"),
            (r#"{"bounds":{"age":5}}"#, "age"),
            (r#"{"bounds":{"when_full":"explode"}}"#, "explode"),
        ] {
            let fault = applied(form).unwrap_err();
            assert!(fault.contains(named), "{form}: {fault}");
        }
    }
}
