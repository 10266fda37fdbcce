//! The files of `areas/`: what operations take and answer, as people write it down.
//!
//! A new route gets an entry under `operations` of the file of its part, with the method and path of
//! the table of routes as its name; a new part gets a file, and a line in [`FILES`].

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::DescriptionFault;
use crate::protocol::ErrorCode;

/// The files, in the order of the document.
const FILES: [(&str, &str); 12] = [
    ("shared.yaml", include_str!("areas/shared.yaml")),
    ("messages.yaml", include_str!("areas/messages.yaml")),
    ("inbox.yaml", include_str!("areas/inbox.yaml")),
    ("discovery.yaml", include_str!("areas/discovery.yaml")),
    ("topics.yaml", include_str!("areas/topics.yaml")),
    ("tokens.yaml", include_str!("areas/tokens.yaml")),
    ("a2a.yaml", include_str!("areas/a2a.yaml")),
    ("agents.yaml", include_str!("areas/agents.yaml")),
    ("queue.yaml", include_str!("areas/queue.yaml")),
    ("rules.yaml", include_str!("areas/rules.yaml")),
    ("staff.yaml", include_str!("areas/staff.yaml")),
    ("about.yaml", include_str!("areas/about.yaml")),
];

/// One part of the API.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Area {
    /// Its heading.
    pub(super) title: String,
    #[serde(default)]
    pub(super) text: String,
    /// By method and path, as in the table of routes.
    #[serde(default)]
    pub(super) operations: BTreeMap<String, Operation>,
    /// Parameters that operations name.
    #[serde(default)]
    pub(super) parameters: BTreeMap<String, Parameter>,
    /// Schemas by name. A `$ref` in them is such a name, or a path that begins with one.
    #[serde(default)]
    pub(super) schemas: BTreeMap<String, Value>,
}

/// What one route takes and answers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Operation {
    pub(super) id: String,
    pub(super) summary: String,
    #[serde(default)]
    pub(super) text: String,
    /// Parameters of the path; one that is not named here is the shared one of its name.
    #[serde(default)]
    pub(super) path: BTreeMap<String, Given>,
    #[serde(default)]
    pub(super) query: BTreeMap<String, Given>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Given>,
    pub(super) body: Option<Body>,
    /// What it answers where all is well, by status.
    pub(super) answers: BTreeMap<u16, Answer>,
    /// What else it answers, in shapes that another specification describes. Where it is given, our own
    /// failures are among them.
    pub(super) otherwise: Option<Answer>,
    /// How it fails, beyond what every route of its kind can.
    #[serde(default)]
    pub(super) errors: Vec<ErrorCode>,
    /// What it asks for itself, where the table of routes does not say it.
    #[serde(default)]
    pub(super) security: Vec<String>,
}

/// A parameter, or the name of a shared one.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Given {
    Shared(String),
    Own(Parameter),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameter {
    pub(super) text: String,
    pub(super) schema: Value,
    pub(super) example: Option<Value>,
}

/// The body of a request: JSON of a schema, or what stands for each media type.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    pub(super) schema: Option<Value>,
    #[serde(default)]
    pub(super) content: BTreeMap<String, Value>,
    #[serde(default)]
    pub(super) optional: bool,
    pub(super) example: Option<Value>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) schema: Option<Value>,
    #[serde(default)]
    pub(super) content: BTreeMap<String, Value>,
    /// Headers of its own, each with what it says.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
}

/// All areas.
pub(super) fn all() -> Result<Vec<Area>, DescriptionFault> {
    FILES.iter().map(|(name, text)| read(name, text)).collect()
}

/// The area of a file.
pub(super) fn read(name: &str, text: &str) -> Result<Area, DescriptionFault> {
    serde_yaml::from_str(text).map_err(|fault| DescriptionFault(format!("{name}: {fault}")))
}
