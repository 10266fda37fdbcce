//! What a subscriber takes of a topic.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{TopicFault, invalid};
use crate::protocol::json::string_of;
use crate::protocol::{Message, SchemaPattern};

/// Entries of a kind, and the bytes of each.
const MOST: usize = 20;
const LONGEST: usize = 255;

/// What a subscriber takes: publications of one of the schemas that have all of the headers. An
/// empty part lets everything pass.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// One of these, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schemas: Vec<SchemaPattern>,
    /// All of these with exactly these values, at most 20.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

impl Filter {
    /// Whether it lets a publication pass.
    #[must_use]
    pub fn lets(&self, message: &Message) -> bool {
        let schema = message.schema();
        let of_schema = self.schemas.is_empty()
            || schema.is_some_and(|schema| self.schemas.iter().any(|it| it.matches(schema)));
        of_schema
            && self.headers.iter().all(|(name, wanted)| {
                let raw = message.header(name);
                // A number or a word is compared as it is written.
                raw.is_some_and(|raw| string_of(raw).as_deref().unwrap_or(raw) == wanted)
            })
    }

    /// Whether it is within bounds.
    ///
    /// # Errors
    /// Names the part that is not.
    pub(super) fn check(&self) -> Result<(), TopicFault> {
        if self.schemas.len() > MOST {
            return Err(invalid("filter.schemas", "has more than 20 entries"));
        }
        if self.headers.len() > MOST {
            return Err(invalid("filter.headers", "has more than 20 entries"));
        }
        for (name, value) in &self.headers {
            if name.is_empty() || name.len() > LONGEST || value.len() > LONGEST {
                let field = "filter.headers";
                return Err(invalid(field, "names and values have at most 255 bytes"));
            }
        }
        Ok(())
    }

    pub(super) fn stored(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a filter is strings under string names")
    }

    /// What was stored; what cannot be read lets nothing pass.
    #[must_use]
    pub fn read(stored: &[u8]) -> Option<Self> {
        serde_json::from_slice(stored).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Limits, Profile};

    fn message(more: &str) -> Message {
        let text =
            format!(r#"{{"sender":"a@a.test","recipients":["t@a.test"],"payload":1{more}}}"#);
        Message::parse(text.into(), Profile::Relay, &Limits::default()).unwrap()
    }

    #[test]
    fn a_filter_lets_pass_what_has_a_schema_and_all_headers() {
        let priced = r#","schema":"agntcy:shop.price.v1","headers":{"region":"eu","level":3}"#;
        for (filter, passes) in [
            ("{}", true),
            (r#"{"schemas":["agntcy:shop.price.v1"]}"#, true),
            (r#"{"schemas":["agntcy:shop.*","agntcy:other.x.v1"]}"#, true),
            (r#"{"schemas":["agntcy:other.x.v1"]}"#, false),
            (r#"{"headers":{"region":"eu"}}"#, true),
            (r#"{"headers":{"region":"eu","level":"3"}}"#, true),
            (r#"{"headers":{"region":"us"}}"#, false),
            (r#"{"headers":{"other":"eu"}}"#, false),
            (
                r#"{"schemas":["agntcy:shop.*"],"headers":{"region":"us"}}"#,
                false,
            ),
        ] {
            let read: Filter = serde_json::from_str(filter).unwrap();
            assert_eq!(read.lets(&message(priced)), passes, "{filter}");
        }
        let only_schema = Filter::read(br#"{"schemas":["agntcy:shop.*"]}"#).unwrap();
        assert!(!only_schema.lets(&message("")));
    }

    #[test]
    fn a_filter_is_bounded_and_known() {
        assert!(serde_json::from_str::<Filter>(r#"{"header":{}}"#).is_err());
        let mut filter = Filter::default();
        filter.check().unwrap();
        for number in 0..=MOST {
            filter.headers.insert(format!("h{number}"), String::new());
        }
        assert!(filter.check().is_err());
        let mut filter = Filter::default();
        filter.headers.insert("h".to_owned(), "x".repeat(256));
        assert!(filter.check().is_err());
    }
}
