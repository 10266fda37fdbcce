//! The text of a schema, read within bounds.
//!
//! A schema may come from a registry of others. Before it is compiled its size, depth, number of
//! values and number of patterns are looked at; member names may not stand twice. Its draft is
//! named by `$schema` (4, 6, 7, 2019-09, 2020-12), which is 2020-12 where nothing is named.

use ring::digest;
use serde_json::Value;
use thiserror::Error;

use crate::protocol::SchemaId;
use crate::protocol::json::{Keep, Only, scan};
use crate::protocol::schema_id::SchemaIdFault;
use crate::store::{SchemaState, SchemaStateFault};

/// The most bytes of a schema.
pub const MOST_BYTES: usize = 1024 * 1024;
/// How many objects and arrays may lie inside one another.
const DEEPEST: usize = 64;
/// How many values it may have, of any kind.
const MOST_VALUES: usize = 20_000;
/// How many regular expressions it may have.
const MOST_PATTERNS: usize = 500;

/// The member that names the schema before `$id` does.
const ID: &str = "x-amtp-schema";
/// The member that holds the state of a schema that is a file.
const STATE: &str = "x-amtp-state";

/// The drafts, as `$schema` names them; a `#` at the end is left out.
const DRAFTS: [&str; 5] = [
    "json-schema.org/draft-04/schema",
    "json-schema.org/draft-06/schema",
    "json-schema.org/draft-07/schema",
    "json-schema.org/draft/2019-09/schema",
    "json-schema.org/draft/2020-12/schema",
];

/// What is wrong with the text of a schema.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DocumentFault {
    /// Over [`MOST_BYTES`].
    #[error("has more than {MOST_BYTES} bytes")]
    TooLarge,
    /// It is no JSON, or has a member twice.
    #[error("{0}")]
    Json(String),
    /// It is neither an object nor `true` or `false`.
    #[error("is no schema: a schema is an object, `true` or `false`")]
    Shape,
    /// Nested too deep.
    #[error("is nested deeper than {DEEPEST} levels")]
    Depth,
    /// Too many values.
    #[error("has more than {MOST_VALUES} values")]
    Values,
    /// Too many patterns.
    #[error("has more than {MOST_PATTERNS} regular expressions")]
    Patterns,
    /// Following its references in one place of a payload never ends, or takes too long.
    #[error("refers to its own parts so often that one value would be checked over and over")]
    Branches,
    /// A reference leads out of it.
    #[error("refers to {0:?}, which is not in it: nothing is fetched")]
    Outside(String),
    /// A part of it has a name of its own.
    #[error("has a part with an `$id` of its own; refer to parts by `#/…`")]
    Nested,
    /// A draft that is not known.
    #[error("$schema names {0:?}, which is none of the drafts 4, 6, 7, 2019-09 and 2020-12")]
    Draft(String),
    /// Nothing names it.
    #[error("has neither `{ID}` nor `$id`, one of which must name it")]
    Nameless,
    /// What names it is no identifier.
    #[error("its name {0}")]
    Name(#[from] SchemaIdFault),
    /// It says that it is another schema.
    #[error("names itself {0:?}")]
    OtherName(String),
    /// Its state is none.
    #[error("{STATE} {0}")]
    State(#[from] SchemaStateFault),
    /// It does not follow the rules of its draft, or refers to what is not in it.
    #[error("{0}")]
    Rules(String),
}

/// A schema that was read; it is not compiled yet.
#[derive(Debug, Clone)]
pub struct Document {
    /// Its text.
    pub text: Vec<u8>,
    /// Its value.
    pub value: Value,
    /// SHA-256 of its value, written in one way: whitespace and the order of members do not count.
    pub sha256: [u8; 32],
}

impl Document {
    /// Reads a text.
    ///
    /// # Errors
    /// See [`DocumentFault`].
    pub fn read(text: &[u8]) -> Result<Self, DocumentFault> {
        if text.len() > MOST_BYTES {
            return Err(DocumentFault::TooLarge);
        }
        let json = |fault: &dyn ToString| DocumentFault::Json(fault.to_string());
        scan(text, Keep::Nothing, Only::Value).map_err(|fault| json(&fault))?;
        let value: Value = serde_json::from_slice(text).map_err(|fault| json(&fault))?;
        if !value.is_object() && !value.is_boolean() {
            return Err(DocumentFault::Shape);
        }
        check_bounds(&value)?;
        check_draft(&value)?;
        // Members are kept in the order of their names, so equal values have equal texts.
        let plain = serde_json::to_vec(&value).map_err(|fault| json(&fault))?;
        let hash = digest::digest(&digest::SHA256, &plain);
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(hash.as_ref());
        Ok(Self {
            text: text.to_vec(),
            value,
            sha256,
        })
    }

    /// What the document calls itself: `x-amtp-schema`, else `$id`.
    ///
    /// # Errors
    /// Neither is there, or it is no identifier.
    pub fn id(&self) -> Result<SchemaId, DocumentFault> {
        let named = [ID, "$id", "id"]
            .iter()
            .find_map(|name| self.value.get(name)?.as_str())
            .ok_or(DocumentFault::Nameless)?;
        Ok(SchemaId::parse(named.trim_end_matches('#'))?)
    }

    /// Checks that `x-amtp-schema`, if there is one, names this identifier.
    ///
    /// # Errors
    /// It names another.
    pub fn check_name(&self, id: &SchemaId) -> Result<(), DocumentFault> {
        match self.value.get(ID) {
            Some(named) if named.as_str() != Some(id.as_str()) => {
                let named = named.as_str().unwrap_or("what is no text");
                Err(DocumentFault::OtherName(named.chars().take(255).collect()))
            }
            _ => Ok(()),
        }
    }

    /// The state the document gives itself; `required` where it gives none.
    ///
    /// # Errors
    /// What is there is no state.
    pub fn state(&self) -> Result<SchemaState, DocumentFault> {
        match self.value.get(STATE) {
            None => Ok(SchemaState::Required),
            Some(state) => Ok(state.as_str().unwrap_or_default().parse()?),
        }
    }
}

fn check_bounds(root: &Value) -> Result<(), DocumentFault> {
    let (mut values, mut patterns) = (0, 0);
    let mut open = vec![(root, 1)];
    while let Some((value, depth)) = open.pop() {
        values += 1;
        if values > MOST_VALUES {
            return Err(DocumentFault::Values);
        }
        if depth > DEEPEST {
            return Err(DocumentFault::Depth);
        }
        match value {
            Value::Array(items) => open.extend(items.iter().map(|item| (item, depth + 1))),
            Value::Object(members) => {
                patterns += usize::from(members.get("pattern").is_some_and(Value::is_string));
                let named = members.get("patternProperties").and_then(Value::as_object);
                patterns += named.map_or(0, serde_json::Map::len);
                open.extend(members.values().map(|member| (member, depth + 1)));
            }
            _ => {}
        }
        if patterns > MOST_PATTERNS {
            return Err(DocumentFault::Patterns);
        }
    }
    Ok(())
}

fn check_draft(root: &Value) -> Result<(), DocumentFault> {
    let Some(named) = root.get("$schema") else {
        return Ok(());
    };
    let text = named.as_str().unwrap_or_default();
    match is_draft(text) {
        true => Ok(()),
        false => Err(DocumentFault::Draft(text.chars().take(100).collect())),
    }
}

/// Whether a text names one of the drafts.
pub(super) fn is_draft(text: &str) -> bool {
    let plain = text.trim_end_matches('#');
    let plain = plain
        .strip_prefix("https://")
        .or_else(|| plain.strip_prefix("http://"));
    plain.is_some_and(|plain| DRAFTS.contains(&plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> DocumentFault {
        Document::read(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_text_out_of_bounds_is_refused() {
        let large = format!(r#"{{"description":"{}"}}"#, "x".repeat(MOST_BYTES));
        assert_eq!(fault(&large), DocumentFault::TooLarge);
        let five = vec![b' '; 5 * MOST_BYTES];
        assert_eq!(Document::read(&five).unwrap_err(), DocumentFault::TooLarge);
        let deep = format!("{}{}{}", r#"{"not":"#.repeat(70), "true", "}".repeat(70));
        assert_eq!(fault(&deep), DocumentFault::Depth);
        let bottomless = r#"{"not":"#.repeat(100_000);
        assert!(matches!(fault(&bottomless), DocumentFault::Json(_)));
        let many = format!(r#"{{"enum":[{}0]}}"#, "0,".repeat(MOST_VALUES));
        assert_eq!(fault(&many), DocumentFault::Values);
        let patterns = vec![r#"{"pattern":"a"}"#; 501].join(",");
        let patterns = format!(r#"{{"allOf":[{patterns}]}}"#);
        assert_eq!(fault(&patterns), DocumentFault::Patterns);
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        for text in ["[]", "1", "null", "\"x\""] {
            assert_eq!(fault(text), DocumentFault::Shape, "{text}");
        }
        for text in ["", "{", "{} {}", r#"{"type":"object","type":"string"}"#] {
            assert!(matches!(fault(text), DocumentFault::Json(_)), "{text}");
        }
        for draft in ["http://json-schema.org/draft-03/schema", "https://x.test/s"] {
            let text = format!(r#"{{"$schema":"{draft}"}}"#);
            assert_eq!(fault(&text), DocumentFault::Draft(draft.to_owned()));
        }
        assert!(matches!(fault(r#"{"$schema":7}"#), DocumentFault::Draft(_)));
    }

    #[test]
    fn a_document_names_itself_and_its_state() {
        let read = |text: &str| Document::read(text.as_bytes()).unwrap();
        for (text, id) in [
            (r#"{"$id":"agntcy:a.b.v1"}"#, "agntcy:a.b.v1"),
            (
                r#"{"id":"urn:x#","$schema":"http://json-schema.org/draft-04/schema#"}"#,
                "urn:x",
            ),
            (
                r#"{"$id":"https://x.test/y","x-amtp-schema":"agntcy:a.b.v1"}"#,
                "agntcy:a.b.v1",
            ),
        ] {
            assert_eq!(read(text).id().unwrap().as_str(), id);
        }
        assert_eq!(read("{}").id().unwrap_err(), DocumentFault::Nameless);
        assert!(matches!(
            read(r#"{"$id":""}"#).id(),
            Err(DocumentFault::Name(_))
        ));
        assert_eq!(read("true").state().unwrap(), SchemaState::Required);
        let draft = read(r#"{"x-amtp-state":"draft"}"#);
        assert_eq!(draft.state().unwrap(), SchemaState::Draft);
        for text in [r#"{"x-amtp-state":"on"}"#, r#"{"x-amtp-state":1}"#] {
            assert!(read(text).state().is_err());
        }
        let id = SchemaId::parse("agntcy:a.b.v1").unwrap();
        let other = read(r#"{"x-amtp-schema":"agntcy:a.b.v2"}"#);
        assert!(other.check_name(&id).is_err() && read("{}").check_name(&id).is_ok());
    }

    #[test]
    fn whitespace_and_order_do_not_make_another_document() {
        let one = Document::read(br#"{"type":"object","title":"x"}"#).unwrap();
        let two = Document::read(b"{ \"title\": \"x\",\n\"type\": \"object\" }").unwrap();
        let other = Document::read(br#"{"type":"object"}"#).unwrap();
        assert!(one.sha256 == two.sha256 && one.sha256 != other.sha256);
    }
}
