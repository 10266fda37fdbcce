//! What a form says of an agent as an A2A server.

use serde_json::{Map, Value};

use super::{bounded, text};
use crate::endpoint::http::error::ApiError;
use crate::endpoint::http::extract::invalid_field;
use crate::protocol::Address;
use crate::store::{A2aAccess, A2aSettings, A2aSkill};

/// A task may take a year.
const LONGEST_DEADLINE: u64 = 366 * 86_400;
/// Bytes of what an extension says.
const LARGEST: usize = 64 * 1_024;
const MOST: usize = 100;

/// The members that can be set. Absent = leave as it is, null = as usual.
pub(super) fn apply(
    before: &A2aSettings,
    form: Option<&Map<String, Value>>,
) -> Result<A2aSettings, ApiError> {
    let Some(form) = form else {
        return Ok(A2aSettings::default());
    };
    let Ok(Value::Object(mut members)) = serde_json::to_value(before) else {
        return Err(ApiError::internal("the settings of an agent are no object"));
    };
    for (name, value) in form {
        match value {
            Value::Null => drop(members.remove(name)),
            value => drop(members.insert(name.clone(), value.clone())),
        }
    }
    let settings = serde_path_to_error::deserialize(Value::Object(members));
    let settings: A2aSettings = settings.map_err(|fault| {
        let field = format!("a2a.{}", fault.path());
        invalid_field(field.trim_end_matches(".."), &fault.inner().to_string())
    })?;
    check(&settings)?;
    Ok(settings)
}

fn check(settings: &A2aSettings) -> Result<(), ApiError> {
    bounded("a2a.allow", &settings.allow)?;
    for (at, entry) in settings.allow.iter().enumerate() {
        let address = entry.replacen("*@", "any@", 1);
        if Address::parse(&address).is_err() {
            let field = format!("a2a.allow[{at}]");
            return Err(invalid_field(&field, "must be an address or *@domain"));
        }
    }
    if settings.access == A2aAccess::AllowList && settings.allow.is_empty() {
        return Err(invalid_field("a2a.allow", "is required with allow-list"));
    }
    if settings.access != A2aAccess::AllowList && !settings.allow.is_empty() {
        let rule = "only goes with access allow-list";
        return Err(invalid_field("a2a.allow", rule));
    }
    for (field, modes) in [
        ("a2a.input_modes", &settings.input_modes),
        ("a2a.output_modes", &settings.output_modes),
    ] {
        bounded(field, modes)?;
        if modes.iter().any(|mode| !is_media_type(mode)) {
            return Err(invalid_field(
                field,
                "must be media types such as text/plain",
            ));
        }
    }
    skills(&settings.skills)?;
    extensions(settings)?;
    let seconds = settings.deadline_seconds.unwrap_or(1);
    if !(1..=LONGEST_DEADLINE).contains(&seconds) {
        let rule = format!("must be 1 to {LONGEST_DEADLINE}");
        return Err(invalid_field("a2a.deadline_seconds", &rule));
    }
    text("a2a.version", settings.version.as_ref())?;
    url("a2a.documentation_url", settings.documentation_url.as_ref())?;
    url("a2a.icon_url", settings.icon_url.as_ref())
}

/// `type/subtype`; either may be `*`.
fn is_media_type(text: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-*".contains(&byte))
    };
    let halves = text.split_once('/');
    halves.is_some_and(|(kind, rest)| is_word(kind) && is_word(rest))
}

fn skills(skills: &[A2aSkill]) -> Result<(), ApiError> {
    if skills.len() > MOST {
        let rule = format!("has more than {MOST} entries");
        return Err(invalid_field("a2a.skills", &rule));
    }
    for (at, skill) in skills.iter().enumerate() {
        let field = |name: &str| format!("a2a.skills[{at}].{name}");
        let named = [("id", &skill.id), ("name", &skill.name)];
        for (name, value) in named {
            if value.is_empty() {
                return Err(invalid_field(&field(name), "must not be empty"));
            }
        }
        for (name, value) in [named[0], named[1], ("description", &skill.description)] {
            text(&field(name), Some(value))?;
        }
        bounded(&field("tags"), &skill.tags)?;
        bounded(&field("examples"), &skill.examples)?;
        if skills[..at].iter().any(|other| other.id == skill.id) {
            return Err(invalid_field(&field("id"), "is given twice"));
        }
    }
    Ok(())
}

fn extensions(settings: &A2aSettings) -> Result<(), ApiError> {
    let field = |at: usize, name: &str| format!("a2a.extensions[{at}].{name}");
    if settings.extensions.len() > MOST {
        let rule = format!("has more than {MOST} entries");
        return Err(invalid_field("a2a.extensions", &rule));
    }
    for (at, extension) in settings.extensions.iter().enumerate() {
        let uri = &extension.uri;
        let fits = (1..=255).contains(&uri.len())
            && uri.contains(':')
            && uri
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b',');
        if !fits || uri == crate::task::AMTP_EXTENSION {
            let rule = "must be a URI of at most 255 bytes, and not that of AMTP";
            return Err(invalid_field(&field(at, "uri"), rule));
        }
        text(&field(at, "description"), extension.description.as_ref())?;
        if let Some(params) = &extension.params
            && !(params.is_object() && params.to_string().len() <= LARGEST)
        {
            let rule = format!("must be an object of at most {LARGEST} bytes");
            return Err(invalid_field(&field(at, "params"), &rule));
        }
    }
    Ok(())
}

fn url(field: &str, value: Option<&String>) -> Result<(), ApiError> {
    let Some(value) = value else {
        return Ok(());
    };
    let fits = value.len() <= 2_000
        && value.parse::<axum::http::Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("https" | "http")) && uri.authority().is_some()
        });
    fits.then_some(())
        .ok_or_else(|| invalid_field(field, "must be an absolute http or https URL"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn applied(before: &A2aSettings, form: Value) -> Result<A2aSettings, ApiError> {
        apply(before, form.as_object())
    }

    #[test]
    fn members_are_set_one_by_one_and_null_takes_one_back() {
        let form = json!({"access": "public", "profile": "plain", "deadline_seconds": 60});
        let set = applied(&A2aSettings::default(), form).unwrap();
        assert_eq!(set.access, A2aAccess::Public);
        let changed = applied(&set, json!({"profile": null})).unwrap();
        assert_eq!(changed.profile, crate::store::A2aProfile::Envelope);
        assert_eq!(changed.deadline_seconds, Some(60));
        assert_eq!(apply(&set, None).unwrap(), A2aSettings::default());
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_field() {
        let skill = json!({"id": "a", "name": "A", "description": ""});
        for (form, field) in [
            (json!({"access": "secret"}), "a2a.access"),
            (json!({"acces": "public"}), "a2a.acces"),
            (json!({"access": "allow-list"}), "a2a.allow"),
            (json!({"allow": ["*@a.test"]}), "a2a.allow"),
            (
                json!({"access": "allow-list", "allow": ["nobody"]}),
                "a2a.allow[0]",
            ),
            (json!({"input_modes": ["text"]}), "a2a.input_modes"),
            (json!({"skills": [skill, skill]}), "a2a.skills[1].id"),
            (
                json!({"extensions": [{"uri": "x"}]}),
                "a2a.extensions[0].uri",
            ),
            (
                json!({"extensions": [{"uri": "urn:x", "params": 1}]}),
                "a2a.extensions[0].params",
            ),
            (json!({"deadline_seconds": 0}), "a2a.deadline_seconds"),
            (json!({"icon_url": "file:///etc"}), "a2a.icon_url"),
        ] {
            let refused = applied(&A2aSettings::default(), form.clone()).unwrap_err();
            let told = format!("{refused:?}");
            assert!(told.contains(&format!("{field:?}")), "{form} {told}");
        }
    }
}
