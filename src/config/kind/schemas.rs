//! Kinds of the section `schemas`.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::names::Url;
use super::{Folder, Kind, Misfit, Presence, Scalar};
use crate::config::document::{Node, Shape};
use crate::config::reading::Reading;
use crate::protocol::{GatewayUrl, SchemaPattern};

/// What becomes of a message whose schema nobody here knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownSchemas {
    /// It is taken.
    Accept,
    /// It is refused.
    Refuse,
}

/// `accept` or `refuse`.
pub(in crate::config) struct Unknown;

impl Scalar for Unknown {
    type Value = UnknownSchemas;

    fn noun() -> String {
        "`accept` or `refuse`".to_owned()
    }

    fn example() -> &'static str {
        "accept"
    }

    fn parse(text: &str, _: &Reading<'_>) -> Result<UnknownSchemas, Misfit> {
        match text {
            "accept" => Ok(UnknownSchemas::Accept),
            "refuse" => Ok(UnknownSchemas::Refuse),
            _ => Err(Misfit::Form),
        }
    }
}

/// A folder that is there.
pub(in crate::config) struct SchemaFolder;

impl Scalar for SchemaFolder {
    type Value = PathBuf;

    fn noun() -> String {
        <Folder as Scalar>::noun()
    }

    fn example() -> &'static str {
        "schemas"
    }

    fn parse(text: &str, reading: &Reading<'_>) -> Result<PathBuf, Misfit> {
        <Folder as Scalar>::parse(text, reading)
    }
}

/// A registry of schemas of somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryEntry {
    /// What the identifier is added to.
    pub url: GatewayUrl,
    /// The public key of its signatures: the point on P-256, uncompressed.
    pub key: Vec<u8>,
    /// The identifiers it is asked for.
    pub patterns: Vec<SchemaPattern>,
}

/// What stands before the point in the DER form of a public key on P-256.
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A list of registries.
pub(in crate::config) struct Registries;

const EXAMPLE: &str = "[{url: \"https://schemas.partner.example\", key: \"MFkw…\", patterns: [\"agntcy:partner.*\"]}]";

impl Kind for Registries {
    type Value = Vec<RegistryEntry>;
    const PRESENCE: Presence = Presence::Required;
    const STRUCTURED: bool = true;

    fn noun() -> String {
        "a list of registries, each with `url`, `key` and `patterns`".to_owned()
    }

    fn example() -> String {
        EXAMPLE.to_owned()
    }

    fn read(node: &Node, reading: &mut Reading<'_>) -> Option<Self::Value> {
        let Shape::List(items) = &node.shape else {
            let text = format!("must be a list, such as `{EXAMPLE}`");
            return reading.refuse(node, text);
        };
        let read: Vec<_> = items.iter().map(|item| entry(item, reading)).collect();
        read.into_iter().collect()
    }

    fn absent() -> Option<Self::Value> {
        None
    }
}

fn entry(node: &Node, reading: &mut Reading<'_>) -> Option<RegistryEntry> {
    let known = ["url", "key", "patterns"];
    if !matches!(node.shape, Shape::Map(_)) {
        let text = "has an entry that is no registry: each has `url`, `key` and `patterns`";
        return reading.refuse(node, text.to_owned());
    }
    for (at, entry) in node.entries().iter().enumerate() {
        let twice = node.entries()[..at]
            .iter()
            .any(|other| other.key == entry.key);
        if twice || !known.contains(&entry.key.as_str()) {
            let what = if twice { "stands twice" } else { "is no key" };
            let text = format!("has a registry in which {:?} {what}", entry.key);
            return reading.refuse(&entry.value, text);
        }
    }
    let missing = known.iter().find(|key| node.find(key).is_none());
    if let Some(missing) = missing {
        return reading.refuse(node, format!("has a registry without `{missing}`"));
    }
    let value = |key: &str| node.find(key).map(|entry| &entry.value);
    let url = <Url as Kind>::read(value("url")?, reading);
    let key = <Key as Kind>::read(value("key")?, reading);
    let patterns = super::Several::<Pattern>::read(value("patterns")?, reading);
    Some(RegistryEntry {
        url: url?,
        key: key?,
        patterns: patterns?,
    })
}

struct Key;

impl Scalar for Key {
    type Value = Vec<u8>;

    fn noun() -> String {
        "a public key on the curve P-256 in base64 of its DER form".to_owned()
    }

    fn example() -> &'static str {
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE…"
    }

    fn parse(text: &str, _: &Reading<'_>) -> Result<Vec<u8>, Misfit> {
        let der = STANDARD.decode(text).map_err(|_| Misfit::Form)?;
        let point = der.strip_prefix(&P256).filter(|point| point.len() == 65);
        let point = point.filter(|point| point[0] == 4);
        point.map(<[u8]>::to_vec).ok_or(Misfit::Form)
    }
}

struct Pattern;

impl Scalar for Pattern {
    type Value = SchemaPattern;

    fn noun() -> String {
        "an identifier of a schema, in which `*` stands for any text".to_owned()
    }

    fn example() -> &'static str {
        "agntcy:partner.*"
    }

    fn parse(text: &str, _: &Reading<'_>) -> Result<SchemaPattern, Misfit> {
        SchemaPattern::parse(text).map_err(|_| Misfit::Form)
    }
}
