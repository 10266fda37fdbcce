//! The schemas of the document: those of the areas, and those that come from the code itself.

use serde_json::{Map, Value, json};

use super::DescriptionFault;
use super::area::Area;
use crate::protocol::ErrorCode;

/// What a message looks like stands in a file of its own, which is published too.
const MESSAGE: &str = include_str!("../../../../schemas/amtp-message-1.0.json");

/// Where schemas stand in the document.
const PLACE: &str = "#/components/schemas/";

/// All schemas by their names.
pub(super) fn schemas(areas: &[Area]) -> Result<Map<String, Value>, DescriptionFault> {
    let mut schemas = of_code()?;
    for area in areas {
        for (name, schema) in &area.schemas {
            if schemas.insert(name.clone(), shape(schema)).is_some() {
                return Err(DescriptionFault(format!("schema {name} is there twice")));
            }
        }
    }
    Ok(schemas)
}

fn of_code() -> Result<Map<String, Value>, DescriptionFault> {
    let mut message: Value = serde_json::from_str(MESSAGE)
        .map_err(|fault| DescriptionFault(format!("the schema of messages: {fault}")))?;
    let mut schemas = Map::new();
    if let Some(members) = message.as_object_mut() {
        members.remove("$schema");
        members.remove("$id");
        if let Some(Value::Object(parts)) = members.remove("$defs") {
            schemas.extend(parts);
        }
    }
    redirect(&mut message, "#/$defs/", PLACE);
    schemas.insert("Message".to_owned(), message);
    let codes: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    let code = json!({ "description": "Why something failed.", "type": "string", "enum": codes });
    schemas.insert("ErrorCode".to_owned(), code);
    let maybe = json!({ "anyOf": [{ "$ref": format!("{PLACE}ErrorCode") }, { "type": "null" }] });
    schemas.insert("MaybeErrorCode".to_owned(), maybe);
    Ok(schemas)
}

/// A schema as it stands in the document: a text alone is the name of one.
pub(super) fn shape(schema: &Value) -> Value {
    match schema {
        Value::String(name) => json!({ "$ref": format!("{PLACE}{name}") }),
        schema => {
            let mut schema = schema.clone();
            redirect(&mut schema, "", PLACE);
            schema
        }
    }
}

/// Lets every `$ref` that begins with `from` begin with `to`.
fn redirect(schema: &mut Value, from: &str, to: &str) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(|it| redirect(it, from, to)),
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(target) if name == "$ref" => {
                        if let Some(rest) = target.strip_prefix(from) {
                            *target = format!("{to}{rest}");
                        }
                    }
                    value => redirect(value, from, to),
                }
            }
        }
        _ => {}
    }
}
