//! The JSON schema of the configuration, from the same tables that read it.
//!
//! It serves editors: `amtpd check` finds more. No key is required in it, because each may be set
//! by the environment.

use serde_json::{Map, Value, json};

use super::SECTIONS;
use super::reference::prose;
use super::section::{EACH, Key, Section};

/// The schema, as pretty JSON.
#[must_use]
pub fn schema() -> String {
    let mut root = section(SECTIONS[0]);
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    root["$id"] = json!("urn:amtpd:configuration");
    root["title"] = json!("Configuration of amtpd");
    format!("{root:#}\n")
}

fn section(section: &Section) -> Value {
    let mut members = Map::new();
    for key in section.keys {
        members.insert(key.name.to_owned(), value(key));
    }
    let mut others = Value::Bool(false);
    for inner in section.inner(&SECTIONS) {
        match inner.step() {
            EACH => others = self::section(inner),
            step => {
                members.insert(step.to_owned(), self::section(inner));
            }
        }
    }
    json!({
        "description": prose(section.about),
        "type": ["object", "null"],
        "properties": members,
        "additionalProperties": others,
    })
}

fn value(key: &Key) -> Value {
    let noun = (key.noun)();
    let mut schema = match noun.strip_suffix(" by name") {
        Some(_) => json!({ "type": "object", "additionalProperties": scalar("a rate") }),
        None if key.structured => json!({ "type": "array" }),
        None => scalar(&noun),
    };
    schema["description"] = json!(format!("{} Value: {noun}.", prose(key.doc)));
    if let Some(default) = key.default {
        let default: Value = serde_yaml::from_str(default).unwrap_or_default();
        schema["default"] = default;
    }
    schema
}

/// What the words about a value say of its form. Every value may be written as a text.
fn scalar(noun: &str) -> Value {
    if noun == "rates by name" {
        return json!({ "type": "object", "additionalProperties": scalar("a rate") });
    }
    if let Some(words) = words(noun) {
        let mut forms: Vec<Value> = words.iter().map(|word| json!(word)).collect();
        if words == ["true", "false"] {
            forms.extend([json!(true), json!(false)]);
        }
        return json!({ "enum": forms });
    }
    if let Some((least, most)) = bounds(noun) {
        return json!({
            "type": ["integer", "string"], "minimum": least, "maximum": most, "pattern": "^[0-9]+$",
        });
    }
    if noun.starts_with("a duration") {
        return json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" });
    }
    if noun.starts_with("a size") {
        let pattern = "^[0-9]+(B|KiB|MiB|GiB|TiB)?$";
        return json!({ "type": ["integer", "string"], "minimum": 0, "pattern": pattern });
    }
    if noun.starts_with("a rate") {
        return json!({ "type": "string", "pattern": "^[0-9]+/(s|m|h)$" });
    }
    json!({ "type": ["string", "number", "boolean"] })
}

/// The words of "`one`, `two` or `three`"; nothing if it says anything else.
fn words(noun: &str) -> Option<Vec<&str>> {
    let parts: Vec<&str> = noun.split('`').collect();
    let (mut words, mut between) = (Vec::new(), Vec::new());
    for (place, part) in parts.iter().enumerate() {
        match place % 2 {
            0 => between.push(*part),
            _ => words.push(*part),
        }
    }
    let first = between.first() == Some(&"") && between.last() == Some(&"");
    let joined = between.iter().all(|it| ["", ", ", " or "].contains(it));
    (first && joined && words.len() > 1).then_some(words)
}

/// The bounds of "a whole number from 1 to 100".
fn bounds(noun: &str) -> Option<(u64, u64)> {
    let rest = noun.strip_prefix("a whole number from ")?;
    let (least, most) = rest.split_once(" to ")?;
    Some((least.parse().ok()?, most.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::template;
    use crate::schema::{Document, check};

    fn fits(value: &Value) -> bool {
        let document = Document::read(schema().as_bytes()).unwrap();
        check(&document, &value.to_string()).unwrap().is_empty()
    }

    #[test]
    fn the_file_in_schemas_is_the_one_that_is_generated() {
        let file = include_str!("../../schemas/amtpd-configuration.json");
        assert!(
            file == schema(),
            "run: cargo run -- config-schema > schemas/amtpd-configuration.json"
        );
    }

    #[test]
    fn every_default_and_every_example_fits() {
        for section in SECTIONS.iter().filter(|it| it.map().is_none()) {
            for key in section.keys {
                let texts = [key.default.map(str::to_owned), Some((key.example)())];
                for text in texts.into_iter().flatten() {
                    let mut value: Value = serde_yaml::from_str(&text).unwrap();
                    for step in [key.name]
                        .into_iter()
                        .chain(section.steps().collect::<Vec<_>>().into_iter().rev())
                    {
                        value = json!({ step: value });
                    }
                    assert!(fits(&value), "{value}");
                }
            }
        }
        let whole: Value = serde_yaml::from_str(&template(&[])).unwrap();
        assert!(fits(&whole), "{whole}");
    }

    #[test]
    fn what_is_no_configuration_does_not_fit() {
        for value in [
            json!({"domain": "x"}),
            json!({"limits": {"recipients": 0}}),
            json!({"limits": {"message_size": "10MB"}}),
            json!({"log": {"format": "xml"}}),
            json!({"delivery": {"retry": {"max": "soon"}}}),
            json!({"peers": {"partner.example": {"gatewey": "x"}}}),
            json!({"schemas": {"unknown": "maybe"}}),
        ] {
            assert!(!fits(&value), "{value}");
        }
    }
}
