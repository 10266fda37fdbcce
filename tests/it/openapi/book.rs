//! The document of a gateway, and answers held against it.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use hyper::{Method, Response};
use jsonschema::Validator;
use serde_json::{Value, json};

/// The document, and which of its answers were seen.
pub struct Book {
    /// With objects that are closed: an answer has no member that is not named.
    document: Value,
    /// As it is given: who asks may send more than is named.
    given: Value,
    pub seen: BTreeSet<(String, u16)>,
    /// What did not fit.
    pub faults: Vec<String>,
    /// Schemas that were read already, by their text.
    read: RefCell<HashMap<String, Arc<Validator>>>,
}

impl Book {
    /// A document. Its objects have no members but those it names.
    pub fn of(given: Value) -> Self {
        let mut document = given.clone();
        close(&mut document);
        Self {
            document,
            given,
            seen: BTreeSet::new(),
            faults: Vec::new(),
            read: RefCell::default(),
        }
    }

    /// Method and path of every operation, with its description.
    pub fn operations(&self) -> Vec<(Method, String, Value)> {
        let mut all = Vec::new();
        for (path, methods) in self.document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let method = method.to_ascii_uppercase().parse().unwrap();
                all.push((method, path.clone(), operation.clone()));
            }
        }
        all
    }

    /// Notes whether an answer is one that the document names.
    pub fn check(&mut self, method: &Method, path: &str, answer: &Response<Bytes>) {
        match self.fault(method, path, answer) {
            Ok(seen) => drop(self.seen.insert(seen)),
            Err(fault) => {
                let body = String::from_utf8_lossy(answer.body());
                let asked = format!("{method} {path}: {} {body}", answer.status());
                self.faults.push(format!("{asked}\n{fault}"));
            }
        }
    }

    /// Notes a JSON body that was accepted though the document does not have it so.
    pub fn check_accepted(&mut self, method: &Method, path: &str, body: &str) {
        let operation = operation(&self.given, method, path);
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let validator = self.validator(&self.given, schema);
        if let Err(fault) = fits(&validator, &serde_json::from_str(body).unwrap()) {
            let asked = format!("{method} {path} took {body}\n{fault}");
            self.faults.push(asked);
        }
    }

    fn fault(
        &self,
        method: &Method,
        path: &str,
        answer: &Response<Bytes>,
    ) -> Result<(String, u16), String> {
        let operation = operation(&self.document, method, path);
        let status = answer.status().as_u16();
        let mut described = &operation["responses"][status.to_string()];
        if !described.is_object() {
            described = &operation["responses"]["default"];
        }
        if !described.is_object() {
            return Err("is not described".to_owned());
        }
        if let Some(place) = described["$ref"].as_str() {
            described = self.document.pointer(&place[1..]).unwrap();
        }
        for name in described["headers"].as_object().unwrap().keys() {
            if !answer.headers().contains_key(name) {
                return Err(format!("has no {name}"));
            }
        }
        self.check_body(&described["content"], answer)?;
        let name = operation["operationId"].as_str().unwrap();
        Ok((name.to_owned(), status))
    }

    fn check_body(&self, content: &Value, answer: &Response<Bytes>) -> Result<(), String> {
        let Some(content) = content.as_object() else {
            return match answer.body().is_empty() {
                true => Ok(()),
                false => Err("has a body".to_owned()),
            };
        };
        let kind = answer.headers()["content-type"].to_str().unwrap();
        let essence = kind.split(';').next().unwrap();
        let media = content.get(essence).or_else(|| content.get("*/*"));
        let media = media.ok_or_else(|| format!("is {kind}"))?;
        if essence == "application/json" {
            let body: Value = serde_json::from_slice(answer.body()).unwrap();
            fits(&self.validator(&self.document, &media["schema"]), &body)?;
        }
        if essence == "application/x-ndjson" {
            let schema = json!({ "$ref": "#/components/schemas/BatchLine" });
            let validator = self.validator(&self.document, &schema);
            for line in answer.body().split(|byte| *byte == b'\n') {
                if !line.is_empty() {
                    let line = serde_json::from_slice(line).unwrap();
                    fits(&validator, &line)?;
                }
            }
        }
        Ok(())
    }

    /// Reads a schema of one of the two documents, once.
    fn validator(&self, document: &Value, schema: &Value) -> Arc<Validator> {
        let schema = json!({ "allOf": [schema], "components": document["components"] });
        let mut read = self.read.borrow_mut();
        let known = read.entry(schema.to_string()).or_insert_with(|| {
            let built = jsonschema::options()
                .should_validate_formats(true)
                .build(&schema);
            Arc::new(built.unwrap())
        });
        known.clone()
    }
}

/// What a document says of a method of a path.
fn operation<'a>(document: &'a Value, method: &Method, path: &str) -> &'a Value {
    let path = path.split('?').next().unwrap();
    let fits = |template: &str| {
        let (there, here) = (template.split('/'), path.split('/'));
        there.clone().count() == here.clone().count() && { there }
            .zip(here)
            .all(|(one, other)| one.starts_with('{') || one == other)
    };
    // What is written out goes before what stands for anything.
    let paths = document["paths"].as_object().unwrap();
    let found = paths.iter().filter(|(template, _)| fits(template));
    let found = found.min_by_key(|(template, _)| template.matches('{').count());
    let found = found.unwrap_or_else(|| panic!("{path} is not described")).1;
    &found[method.as_str().to_ascii_lowercase()]
}

fn fits(validator: &Validator, body: &Value) -> Result<(), String> {
    let faults: Vec<String> = validator
        .iter_errors(body)
        .map(|fault| format!("{}: {fault}", fault.instance_path()))
        .collect();
    match faults.is_empty() {
        true => Ok(()),
        false => Err(faults.join("\n")),
    }
}

/// Lets objects have no members but those that are named, where nothing else is said.
fn close(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(close),
        Value::Object(members) => {
            let is_object = members.get("type").is_some_and(|kind| kind == "object");
            let named = members.get("properties").is_some_and(Value::is_object);
            if is_object && named && !members.contains_key("additionalProperties") {
                members.insert("additionalProperties".to_owned(), false.into());
            }
            members.values_mut().for_each(close);
        }
        _ => {}
    }
}

#[test]
fn what_the_document_does_not_name_is_noticed() {
    let document = amtpd::endpoint::http::openapi("/").unwrap();
    let error = json!({ "error": {
        "code": "NOT_FOUND", "message": "m", "timestamp": "2026-11-21T10:00:00.000Z", "request_id": "r",
    } });
    let with = |member: &str, value: Value| {
        let mut changed = error.clone();
        changed["error"][member] = value;
        changed
    };
    let json = "application/json";
    let table = [
        (404, json, error.clone(), ""),
        (404, json, with("code", "CONFLICT".into()), "CONFLICT"),
        (404, json, with("timestamp", "now".into()), "now"),
        (404, json, with("cause", "c".into()), "cause"),
        (404, json, json!({}), "error"),
        (404, "text/plain", error.clone(), "is text/plain"),
        (409, json, error.clone(), "is not described"),
        (200, json, error.clone(), "message_id"),
    ];
    for (status, kind, body, expected) in table {
        let mut book = Book::of(document.clone());
        let answer = Response::builder()
            .status(status)
            .header("content-type", kind)
            .header("x-request-id", "r")
            .header("x-amtp-version", "1.0")
            .body(Bytes::from(body.to_string()))
            .unwrap();
        book.check(&Method::GET, "/v1/messages/1/status?x=1", &answer);
        assert_eq!(book.faults.is_empty(), expected.is_empty(), "{body}");
        assert!(book.faults.concat().contains(expected), "{:?}", book.faults);
    }
}
