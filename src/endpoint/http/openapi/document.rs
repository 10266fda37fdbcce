//! The document: routes, and what the areas say of them, put together.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::DescriptionFault;
use super::area::{Answer, Area, Body, Given, Operation, Parameter};
use super::security::{needed, refusals, schemes};
use super::shapes::{schemas, shape};
use crate::endpoint::http::routes::Row;
use crate::protocol::ErrorCode;

/// What is said before everything else.
const ABOUT: &str = "Mail for software agents, by AMTP 1.0. Bodies are JSON, times RFC 3339 in UTC with \
    milliseconds. Every answer has `X-Request-ID` and `X-AMTP-Version`; every failure has the body `Error`. \
    A query parameter that is empty is as good as none. \
    What is marked as for staff is called from `admin.from`, and on `listen.admin` where that is configured.";

/// How every route can fail.
const ANYWHERE: [ErrorCode; 5] = [
    ErrorCode::InvalidParameter,
    ErrorCode::UnsupportedVersion,
    ErrorCode::RateLimitExceeded,
    ErrorCode::InternalError,
    ErrorCode::TemporaryFailure,
];

/// How every route with a body can fail beside that.
const WITH_BODY: [ErrorCode; 4] = [
    ErrorCode::InvalidMessageFormat,
    ErrorCode::RequestTimeout,
    ErrorCode::MessageTooLarge,
    ErrorCode::UnsupportedMediaType,
];

/// The whole document.
pub(super) fn document(
    rows: &[Row],
    areas: &[Area],
    server: &str,
) -> Result<Value, DescriptionFault> {
    let mut writer = Writer::of(areas);
    for row in rows {
        writer.add(row)?;
    }
    if let Some(left) = writer.left.first() {
        return Err(DescriptionFault(format!("there is no route {left}")));
    }
    let spoken = areas.iter().filter(|area| !area.operations.is_empty());
    let tags = spoken.map(|area| json!({ "name": area.title, "description": area.text }));
    Ok(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "amtpd", "version": env!("CARGO_PKG_VERSION"), "description": ABOUT,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": server }],
        "tags": tags.collect::<Vec<_>>(),
        "paths": writer.paths,
        "components": {
            "schemas": schemas(areas)?,
            "responses": writer.failures,
            "headers": headers(),
            "securitySchemes": schemes(),
        },
    }))
}

fn headers() -> Value {
    let text =
        |description: &str, schema: Value| json!({ "description": description, "schema": schema });
    json!({
        "X-Request-ID": text("The caller's, or a fresh one.", json!({ "type": "string", "maxLength": 64 })),
        "X-AMTP-Version": text("The version that is spoken.", json!({ "const": "1.0" })),
        "Retry-After": text("Seconds.", json!({ "type": "integer", "minimum": 1 })),
        "WWW-Authenticate": text("`Bearer`.", json!({ "const": "Bearer" })),
    })
}

/// A header of the answers, by its name.
fn header(name: &str) -> (String, Value) {
    let place = format!("#/components/headers/{name}");
    (name.to_owned(), json!({ "$ref": place }))
}

/// Headers of every answer.
fn usual_headers() -> Map<String, Value> {
    ["X-Request-ID", "X-AMTP-Version"]
        .map(header)
        .into_iter()
        .collect()
}

struct Writer<'a> {
    /// By method and path.
    known: BTreeMap<&'a str, (&'a Area, &'a Operation)>,
    shared: BTreeMap<&'a str, &'a Parameter>,
    /// Descriptions that no route has taken yet.
    left: BTreeSet<&'a str>,
    paths: Map<String, Value>,
    failures: Map<String, Value>,
}

impl<'a> Writer<'a> {
    fn of(areas: &'a [Area]) -> Self {
        let all = areas.iter().flat_map(|area| {
            let operations = area.operations.iter();
            operations.map(move |(name, operation)| (name.as_str(), (area, operation)))
        });
        let known: BTreeMap<_, _> = all.collect();
        let shared = areas.iter().flat_map(|area| &area.parameters);
        Self {
            left: known.keys().copied().collect(),
            known,
            shared: shared.map(|(name, it)| (name.as_str(), it)).collect(),
            paths: Map::new(),
            failures: Map::new(),
        }
    }

    fn add(&mut self, row: &Row) -> Result<(), DescriptionFault> {
        let name = format!("{} {}", row.method, row.path);
        let known = self.known.get_key_value(name.as_str());
        let Some((&name, &(area, operation))) = known else {
            return Err(DescriptionFault(format!("{name} has no description")));
        };
        self.left.remove(name);
        let written = self.operation(row, area, operation)?;
        // A part of the path that takes all the rest is a parameter as others are.
        let path = row.path.replace("{*", "{");
        let methods = self.paths.entry(path).or_insert_with(|| json!({}));
        methods[row.method.to_ascii_lowercase()] = written;
        Ok(())
    }

    fn operation(
        &mut self,
        row: &Row,
        area: &Area,
        operation: &Operation,
    ) -> Result<Value, DescriptionFault> {
        let who = row.access.who();
        let text = match operation.text.is_empty() {
            true => format!("May be called by: {who}."),
            false => format!("{}\n\nMay be called by: {who}.", operation.text.trim()),
        };
        let mut written = json!({
            "operationId": operation.id,
            "summary": operation.summary,
            "description": text,
            "tags": [area.title],
            "security": needed(row.access, operation)?,
            "responses": self.answers(row, operation),
        });
        let parameters = self.parameters(row, operation)?;
        if !parameters.is_empty() {
            written["parameters"] = parameters.into();
        }
        if let Some(body) = &operation.body {
            written["requestBody"] = request(body);
        }
        Ok(written)
    }

    fn parameters(&self, row: &Row, operation: &Operation) -> Result<Vec<Value>, DescriptionFault> {
        let names: Vec<&str> = names(row.path).collect();
        if let Some(stray) = operation
            .path
            .keys()
            .find(|it| !names.contains(&it.as_str()))
        {
            let fault = format!("{}: the path has no {{{stray}}}", operation.id);
            return Err(DescriptionFault(fault));
        }
        let mut written = Vec::new();
        for name in names {
            let given = operation.path.get(name).cloned();
            let given = given.unwrap_or_else(|| Given::Shared(name.to_owned()));
            written.push(self.parameter(("path", name), &given)?);
        }
        for (place, given) in [("query", &operation.query), ("header", &operation.headers)] {
            for (name, given) in given {
                written.push(self.parameter((place, name), given)?);
            }
        }
        Ok(written)
    }

    fn parameter(
        &self,
        (place, name): (&str, &str),
        given: &Given,
    ) -> Result<Value, DescriptionFault> {
        let parameter = match given {
            Given::Own(parameter) => parameter,
            Given::Shared(shared) => {
                self.shared.get(shared.as_str()).copied().ok_or_else(|| {
                    DescriptionFault(format!("there is no shared parameter {shared}"))
                })?
            }
        };
        let mut written = json!({
            "name": name,
            "in": place,
            "required": place == "path",
            "description": parameter.text,
            "schema": match place {
                "query" => or_empty(shape(&parameter.schema)),
                _ => shape(&parameter.schema),
            },
        });
        if let Some(example) = &parameter.example {
            written["example"] = example.clone();
        }
        Ok(written)
    }

    fn answers(&mut self, row: &Row, operation: &Operation) -> Map<String, Value> {
        let mut codes: BTreeMap<u16, Vec<ErrorCode>> = BTreeMap::new();
        let with_body: &[ErrorCode] = match operation.body {
            Some(_) => &WITH_BODY,
            None => &[],
        };
        let usual = [&ANYWHERE, refusals(row.access), with_body].concat();
        for code in ErrorCode::ALL {
            let is_ours = operation.otherwise.is_none();
            if is_ours && (usual.contains(code) || operation.errors.contains(code)) {
                codes.entry(code.http_status()).or_default().push(*code);
            }
        }
        let mut answers = Map::new();
        for (status, codes) in codes {
            answers.insert(status.to_string(), self.failure(status, &codes));
        }
        for (status, given) in &operation.answers {
            let mut written = answer(given);
            // A status of its own that is a failure's too: either may come.
            if let Some(failure) = answers.get(&status.to_string()) {
                either(&mut written, &self.failed(failure));
            }
            answers.insert(status.to_string(), written);
        }
        if let Some(otherwise) = &operation.otherwise {
            answers.insert("default".to_owned(), answer(otherwise));
        }
        answers
    }

    /// The place of the answer for these codes.
    fn failure(&mut self, status: u16, codes: &[ErrorCode]) -> Value {
        let words: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
        let name = format!("{status}.{}", words.join("."));
        let place = format!("#/components/responses/{name}");
        let lines: Vec<String> = codes
            .iter()
            .map(|code| format!("`{code}`: {}", code.text()))
            .collect();
        let mut headers = usual_headers();
        match status {
            401 => headers.extend([header("WWW-Authenticate")]),
            429 | 503 => headers.extend([header("Retry-After")]),
            _ => {}
        }
        let schema = json!({
            "$ref": "#/components/schemas/Error",
            "properties": { "error": { "properties": { "code": { "enum": words } } } },
        });
        self.failures.entry(name).or_insert_with(|| {
            json!({
                "description": lines.join("\n\n"),
                "headers": headers,
                "content": { "application/json": { "schema": schema } },
            })
        });
        json!({ "$ref": place })
    }

    /// The answer at a place.
    fn failed(&self, place: &Value) -> Value {
        let place = place["$ref"].as_str().unwrap_or_default();
        let name = place.rsplit('/').next().unwrap_or_default();
        self.failures.get(name).cloned().unwrap_or_default()
    }
}

/// What a query parameter can be: but for numbers, an empty one is as good as none.
fn or_empty(schema: Value) -> Value {
    let is_plain = schema == json!({ "type": "string" });
    match is_plain || schema["type"] == "integer" || schema.get("anyOf").is_some() {
        true => schema,
        false => json!({ "anyOf": [schema, { "const": "" }] }),
    }
}

/// Lets a body be one of an answer's own or of a failure.
fn either(written: &mut Value, failure: &Value) {
    const JSON: &str = "application/json";
    let (own, other) = (
        written["content"][JSON]["schema"].take(),
        &failure["content"][JSON]["schema"],
    );
    written["content"][JSON]["schema"] = json!({ "anyOf": [own, other] });
}

/// The names in the braces of a path.
fn names(path: &str) -> impl Iterator<Item = &str> {
    let parts = path.split('/');
    parts.filter_map(|part| {
        let name = part.strip_prefix('{')?.strip_suffix('}')?;
        Some(name.trim_start_matches('*'))
    })
}

fn request(body: &Body) -> Value {
    let mut content = content(body.schema.as_ref(), &body.content);
    if let (Some(example), Some(json)) = (&body.example, content.get_mut("application/json")) {
        json["example"] = example.clone();
    }
    json!({ "required": !body.optional, "content": content })
}

fn answer(given: &Answer) -> Value {
    let mut headers = usual_headers();
    for (name, text) in &given.headers {
        let header = json!({ "description": text, "schema": { "type": "string" } });
        headers.insert(name.clone(), header);
    }
    let mut written = json!({ "description": given.text, "headers": headers });
    let content = content(given.schema.as_ref(), &given.content);
    if !content.is_empty() {
        written["content"] = content.into();
    }
    written
}

fn content(schema: Option<&Value>, given: &BTreeMap<String, Value>) -> Map<String, Value> {
    let json = schema.map(|schema| ("application/json".to_owned(), schema));
    let given = given.iter().map(|(kind, schema)| (kind.clone(), schema));
    let all = json.into_iter().chain(given);
    all.map(|(kind, schema)| (kind, json!({ "schema": shape(schema) })))
        .collect()
}
