use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::area::{self, Area};
use super::document::document;
use super::{openapi, page, rows};
use crate::auth::{Access, Permission};
use crate::endpoint::http::routes::Row;

fn described() -> Value {
    openapi("https://amtp.example.com").unwrap()
}

const ROW: Row = Row {
    method: "POST",
    path: "/v1/things/{id}",
    access: Access::Agent(Permission::Send),
};

fn areas(text: &str) -> Vec<Area> {
    let shared = "{title: Shared, parameters: {id: {text: An id., schema: {type: string}}}, schemas: {Error: {}}}";
    let all = [("shared", shared), ("things", text)];
    all.map(|(name, text)| area::read(name, text).unwrap())
        .to_vec()
}

const THINGS: &str = "
title: Things
operations:
  POST /v1/things/{id}:
    id: makeThing
    summary: Make a thing
    body: {schema: Thing, example: {a: 1}}
    answers: {201: {text: Made., schema: Thing}}
    errors: [NOT_FOUND]
schemas:
  Thing: {type: object, properties: {a: {$ref: Number}}}
  Number: {type: integer}
";

#[test]
fn every_route_has_a_description_and_every_description_a_route() {
    let document = described();
    for row in rows() {
        let path = row.path.replace("{*", "{");
        let operation = &document["paths"][path][row.method.to_ascii_lowercase()];
        assert!(operation.is_object(), "{} {}", row.method, row.path);
    }
    let written: usize = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .map(|methods| methods.as_object().unwrap().len())
        .sum();
    assert_eq!(written, rows().len());
}

#[test]
fn what_does_not_go_together_is_a_fault() {
    let other = Row {
        path: "/v1/others",
        ..ROW
    };
    let twice = format!("{THINGS}  Error: {{}}\n");
    let stray = THINGS.replace("    body:", "    path: {name: id}\n    body:");
    let unknown = THINGS.replace("    body:", "    query: {limit: limit}\n    body:");
    let secured = THINGS.replace("    body:", "    security: [agent]\n    body:");
    let own = Row {
        access: Access::Own,
        ..ROW
    };
    let table = [
        (vec![ROW], THINGS, ""),
        (
            vec![ROW, other],
            THINGS,
            "POST /v1/others has no description",
        ),
        (vec![], THINGS, "there is no route POST /v1/things/{id}"),
        (vec![ROW], &twice, "schema Error is there twice"),
        (vec![ROW], &stray, "makeThing: the path has no {name}"),
        (vec![ROW], &unknown, "there is no shared parameter limit"),
        (vec![ROW], &secured, "makeThing: `security` is for"),
        (vec![own], THINGS, "makeThing: `security` is for"),
    ];
    for (rows, text, expected) in table {
        let fault = document(&rows, &areas(text), "/").err();
        let fault = fault.map(|fault| fault.to_string()).unwrap_or_default();
        assert_eq!(fault.is_empty(), expected.is_empty(), "{fault}");
        assert!(fault.starts_with(expected), "{fault}");
    }
    assert!(area::read("x.yaml", "{title: X, operation: {}}").is_err());
}

#[test]
fn what_every_route_of_a_kind_can_answer_need_not_be_said() {
    let document = document(&[ROW], &areas(THINGS), "/").unwrap();
    let operation = &document["paths"]["/v1/things/{id}"]["post"];
    let answers = operation["responses"].as_object().unwrap();
    let statuses: Vec<&str> = answers.keys().map(String::as_str).collect();
    let expected = "201 400 401 403 404 408 413 415 429 500 503";
    assert_eq!(statuses, expected.split(' ').collect::<Vec<_>>());
    let place = answers["401"]["$ref"].as_str().unwrap();
    let answer = document.pointer(&place[1..]).unwrap();
    let codes = &answer["content"]["application/json"]["schema"]["properties"]["error"];
    assert_eq!(
        codes["properties"]["code"]["enum"],
        json!(["AUTHENTICATION_FAILED"])
    );
    assert_eq!(
        operation["security"],
        json!([{ "agent": ["send"] }, { "certificate": ["send"] }])
    );
    assert_eq!(operation["parameters"][0]["in"], "path");
    let thing = &document["components"]["schemas"]["Thing"]["properties"]["a"];
    assert_eq!(thing["$ref"], "#/components/schemas/Number");
}

#[test]
fn a_path_that_takes_all_the_rest_is_a_parameter() {
    let row = Row {
        path: "/v1/things/{*id}",
        ..ROW
    };
    let text = THINGS.replace("{id}:", "{*id}:");
    let document = document(&[row], &areas(&text), "/").unwrap();
    let operation = &document["paths"]["/v1/things/{id}"]["post"];
    assert_eq!(operation["parameters"][0]["name"], "id");
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_used() {
    let document = described();
    let mut places = BTreeSet::new();
    references(&document, &mut places);
    for place in &places {
        assert!(document.pointer(&place[1..]).is_some(), "{place}");
    }
    let used = |name: &String| {
        let place = format!("#/components/schemas/{name}");
        let inside = format!("{place}/");
        places
            .iter()
            .any(|it| *it == place || it.starts_with(&inside))
    };
    // The lines of a batch are no JSON that a document could refer to.
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let unused: Vec<&String> = schemas.keys().filter(|name| !used(name)).collect();
    assert_eq!(unused, ["BatchLine"]);
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|it| references(it, found)),
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(place) if name == "$ref" => drop(found.insert(place.clone())),
                    value => references(value, found),
                }
            }
        }
        _ => {}
    }
}

fn operations(document: &Value) -> impl Iterator<Item = &Value> {
    let paths = document["paths"].as_object().unwrap().values();
    paths.flat_map(|methods| methods.as_object().unwrap().values())
}

#[test]
fn no_two_operations_have_one_name() {
    let document = described();
    let names: Vec<&str> = operations(&document)
        .map(|operation| operation["operationId"].as_str().unwrap())
        .collect();
    let distinct: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(distinct.len(), names.len());
}

#[test]
fn every_example_fits_its_schema() {
    let document = described();
    let mut examples = 0;
    for operation in operations(&document) {
        let body = &operation["requestBody"]["content"]["application/json"];
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        for given in parameters.chain([body]) {
            let Some(example) = given.get("example") else {
                continue;
            };
            let schema =
                json!({ "allOf": [given["schema"]], "components": document["components"] });
            let validator = jsonschema::validator_for(&schema).unwrap();
            let faults: Vec<String> = validator
                .iter_errors(example)
                .map(|fault| fault.to_string())
                .collect();
            let none: [String; 0] = [];
            assert_eq!(faults, none, "{}: {example}", operation["operationId"]);
            examples += 1;
        }
    }
    assert!(examples > 20, "{examples}");
}

#[test]
fn the_page_shows_every_operation_and_loads_nothing() {
    let document = described();
    let html = page::page(&document);
    for operation in operations(&document) {
        let name = operation["operationId"].as_str().unwrap();
        assert!(html.contains(&format!("id=\"{name}\"")), "{name}");
        assert!(html.contains(&format!("href=\"#{name}\"")), "{name}");
    }
    for loading in [
        "<script", "<img", "<link", "<iframe", " src=", " style=", "url(", "@import", " onclick",
    ] {
        assert!(!html.contains(loading), "{loading}");
    }
    // Every link leads to something on the page, or to the document.
    for link in html.split("href=\"").skip(1) {
        let target = link.split('"').next().unwrap();
        let there = target == "openapi.json"
            || target
                .strip_prefix('#')
                .is_some_and(|id| html.contains(&format!("id=\"{id}\"")));
        assert!(there, "{target}");
    }
}

#[test]
fn the_policy_lets_the_style_of_the_page_through_and_nothing_else() {
    let html = page::page(&described());
    let style = html.split("<style>").nth(1).unwrap();
    let style = style.split("</style>").next().unwrap();
    let hash = STANDARD.encode(digest(&SHA256, style.as_bytes()));
    let expected = format!("default-src 'none'; style-src 'sha256-{hash}'; ");
    assert!(page::policy().starts_with(&expected), "{}", page::policy());
}

#[test]
fn texts_of_the_document_are_no_markup() {
    let mut document = described();
    document["info"]["description"] = "<b>a</b> `<i>`".into();
    let html = page::page(&document);
    assert!(html.contains("<p>&lt;b&gt;a&lt;/b&gt; <code>&lt;i&gt;</code></p>"));
}
