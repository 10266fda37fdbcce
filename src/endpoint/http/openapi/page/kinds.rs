//! Schemas in words.

use serde_json::Value;

use super::{entries, escaped, paragraphs};

/// What a value is, in one line of HTML.
pub(super) fn kind(schema: &Value) -> String {
    if let Some(place) = schema["$ref"].as_str() {
        return link(place);
    }
    match schema {
        Value::Bool(false) => return "must be absent".to_owned(),
        Value::Bool(true) | Value::Null => return "anything".to_owned(),
        _ => {}
    }
    if let Some(value) = schema.get("const") {
        return literal(value);
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values.iter().map(literal).collect();
        return values.join(" or ");
    }
    for (word, between) in [("anyOf", " or "), ("oneOf", " or "), ("allOf", " with ")] {
        if let Some(parts) = schema[word].as_array() {
            // That a parameter may be empty is said once for all.
            let said = parts.iter().filter(|part| part["const"] != "");
            return said.map(kind).collect::<Vec<_>>().join(between);
        }
    }
    let words = types(schema);
    match words.is_empty() {
        true => "anything".to_owned(),
        false => words.join(" or ") + &bounds(schema),
    }
}

fn types(schema: &Value) -> Vec<String> {
    let one = |name: &str| match name {
        "array" => format!("list of {}", kind(&schema["items"])),
        "integer" => "whole number".to_owned(),
        "boolean" => "true or false".to_owned(),
        "string" => match schema["format"].as_str() {
            Some(format) => format!("string ({})", escaped(format)),
            None => "string".to_owned(),
        },
        other => escaped(other),
    };
    match &schema["type"] {
        Value::String(name) => vec![one(name)],
        Value::Array(names) => names.iter().filter_map(Value::as_str).map(one).collect(),
        _ => Vec::new(),
    }
}

fn bounds(schema: &Value) -> String {
    let mut html = String::new();
    for (word, said) in [
        ("minimum", "at least"),
        ("maximum", "at most"),
        ("minLength", "length at least"),
        ("maxLength", "length at most"),
        ("minItems", "at least so many:"),
        ("maxItems", "at most so many:"),
        ("maxProperties", "at most so many:"),
        ("default", "where absent:"),
    ] {
        if let Some(value) = schema.get(word) {
            html += &format!(", {said} {}", literal(value));
        }
    }
    html
}

fn literal(value: &Value) -> String {
    format!("<code>{}</code>", escaped(&value.to_string()))
}

/// A link to a schema: the name, and the members behind it.
fn link(place: &str) -> String {
    let path = place.trim_start_matches("#/components/schemas/");
    let name = path.split('/').next().unwrap_or_default();
    let label = path.replace("/properties/", ".");
    let (name, label) = (escaped(name), escaped(&label));
    format!("<a href=\"#schema-{name}\">{label}</a>")
}

/// The members of an object, of the objects of a list, and of the parts that a schema is made of.
pub(super) fn members(schema: &Value) -> String {
    let mut html = String::new();
    let must = |name: &str| {
        let required = schema["required"].as_array().into_iter().flatten();
        { required }.any(|it| it == name)
    };
    for (name, member) in entries(&schema["properties"]) {
        let mark = match must(name) {
            true => " <span class=\"must\">required</span>",
            false => "",
        };
        html += &format!(
            "<dt><code>{}</code> <span class=\"kind\">{}</span>{mark}</dt>\n<dd>{}{}</dd>\n",
            escaped(name),
            kind(member),
            paragraphs(&member["description"]),
            members(member),
        );
    }
    if !html.is_empty() {
        html = format!("<dl>\n{html}</dl>\n");
    }
    let parts = schema["allOf"].as_array().into_iter().flatten();
    html += &parts.map(members).collect::<String>();
    html + &schema.get("items").map(members).unwrap_or_default()
}
