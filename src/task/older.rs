//! What A2A 0.3 and 0.1 have in common, on whichever side of a call the gateway stands: parts that
//! name their kind, roles as words.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::read::{metadata, url_of};
use super::{Content, Fault, Json, Message, Object, Part, Place, Role};

/// A part, with the name that its kind stands under: `kind` in 0.3, `type` in 0.1.
struct OldPart<'a>(&'static str, &'a Part);

/// The parts of a message or an artifact.
#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct OldParts<'a>(Vec<OldPart<'a>>);

impl<'a> OldParts<'a> {
    /// Those whose kind stands under `key`.
    pub(crate) fn of(key: &'static str, parts: &'a [Part]) -> Self {
        Self(parts.iter().map(|part| OldPart(key, part)).collect())
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<&'a str>,
}

impl Serialize for OldPart<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(key, part) = self;
        let mut map = serializer.serialize_map(None)?;
        let file = |bytes, uri| File {
            name: part.filename.as_deref(),
            mime_type: part.media_type.as_deref(),
            bytes,
            uri,
        };
        match &part.content {
            Content::Text(text) => {
                map.serialize_entry(key, "text")?;
                map.serialize_entry("text", text)?;
            }
            Content::Raw(raw) => {
                map.serialize_entry(key, "file")?;
                map.serialize_entry("file", &file(Some(raw), None))?;
            }
            Content::Url(url) => {
                map.serialize_entry(key, "file")?;
                map.serialize_entry("file", &file(None, Some(url)))?;
            }
            Content::Data(data) => {
                map.serialize_entry(key, "data")?;
                map.serialize_entry("data", &as_object(data))?;
            }
        }
        if let Some(metadata) = &part.metadata {
            map.serialize_entry("metadata", metadata)?;
        }
        map.end()
    }
}

/// Data is an object in these dialects; another value stands in one.
fn as_object(data: &Json) -> Json {
    if data.get().starts_with('{') {
        return data.clone();
    }
    let text = format!(r#"{{"value":{}}}"#, data.get());
    Json::read(&text).unwrap_or_else(|_| data.clone())
}

/// A message of 0.3.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OldMessage<'a> {
    kind: &'static str,
    message_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    context_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<&'a str>,
    role: &'static str,
    parts: OldParts<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Json>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    extensions: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    reference_task_ids: &'a [String],
}

impl<'a> From<&'a Message> for OldMessage<'a> {
    fn from(it: &'a Message) -> Self {
        Self {
            kind: "message",
            message_id: &it.message_id,
            context_id: it.context_id.as_deref(),
            task_id: it.task_id.as_deref(),
            role: role_word(it.role),
            parts: OldParts::of("kind", &it.parts),
            metadata: it.metadata.as_ref(),
            extensions: &it.extensions,
            reference_task_ids: &it.reference_task_ids,
        }
    }
}

/// `user` or `agent`.
pub(crate) const fn role_word(role: Role) -> &'static str {
    match role {
        Role::User => "user",
        Role::Agent => "agent",
    }
}

/// Reads `user` or `agent`.
///
/// # Errors
/// It is missing, or another word.
pub(crate) fn role(object: &Object<'_>) -> Result<Role, Fault> {
    match object.required_name("role")?.as_str() {
        "user" => Ok(Role::User),
        "agent" => Ok(Role::Agent),
        _ => Err(object.fault("role", "must be user or agent")),
    }
}

/// Reads a part whose data is an object, as these dialects have it. Its kind may stand under either
/// name, or be left out.
///
/// # Errors
/// It has no kind that is known, or not what belongs to its kind.
pub(crate) fn part(place: &Place<'_>) -> Result<Part, Fault> {
    part_with(place, |data| data.json_object())
}

/// The same where data may be any value: what an agent answers is taken as it is.
///
/// # Errors
/// As [`part`].
pub(crate) fn part_of_agent(place: &Place<'_>) -> Result<Part, Fault> {
    part_with(place, |data| data.json())
}

fn part_with(
    place: &Place<'_>,
    data: impl Fn(&Place<'_>) -> Result<Json, Fault>,
) -> Result<Part, Fault> {
    let object = place.object()?;
    let kind = match object.name("kind")? {
        Some(kind) => Some(kind),
        None => object.name("type")?,
    };
    let there = |name: &&str| object.get(name).is_some();
    let guessed = ["text", "file", "data"].into_iter().find(there);
    let Some(kind) = kind.as_deref().or(guessed) else {
        return Err(object.fault("kind", "is required"));
    };
    let mut part = match kind {
        "text" => Part::text(object.required("text")?.text()?),
        "data" => Part::of(Content::Data(data(&object.required("data")?)?)),
        "file" => file(&object.required("file")?)?,
        _ => return Err(object.fault("kind", "must be text, file or data")),
    };
    part.metadata = metadata(&object)?;
    Ok(part)
}

fn file(place: &Place<'_>) -> Result<Part, Fault> {
    let object = place.object()?;
    let content = match (object.get("bytes"), object.get("uri")) {
        (Some(bytes), None) => Content::Raw(bytes.base64()?),
        (None, Some(uri)) => Content::Url(url_of(&uri)?),
        _ => return Err(place.fault("must have exactly one of bytes and uri")),
    };
    Ok(Part {
        filename: object.name("name")?,
        media_type: object.name("mimeType")?,
        ..Part::of(content)
    })
}
