//! The page for people: the document as HTML, with its style inside and nothing else.

mod kinds;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};

use kinds::{kind, members};

const STYLE: &str = include_str!("page.css");

/// The policy under which the page is shown: its own style, and nothing from anywhere.
pub(super) fn policy() -> String {
    let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}

/// The whole page.
pub(super) fn page(document: &Value) -> String {
    let reader = Reader { document };
    let info = &document["info"];
    let (title, version) = (text(&info["title"]), text(&info["version"]));
    let server = text(&document["servers"][0]["url"]);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title} {version}: HTTP API</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<h1>{title} {version}: HTTP API</h1>\n{about}\
         <p>The same for programs: <a href=\"openapi.json\">openapi.json</a>. Server: <code>{server}</code></p>\n</header>\n",
        about = paragraphs(&info["description"]),
    );
    page += &reader.contents();
    page += "<main>\n";
    for tag in reader.tags() {
        page += &reader.area(tag);
    }
    page += &reader.credentials();
    page += &reader.schemas();
    page + "</main>\n</body>\n</html>\n"
}

/// One operation of the document.
struct Place<'a> {
    method: &'a str,
    path: &'a str,
    operation: &'a Value,
}

struct Reader<'a> {
    document: &'a Value,
}

impl<'a> Reader<'a> {
    fn tags(&self) -> impl Iterator<Item = &'a Value> {
        self.document["tags"].as_array().into_iter().flatten()
    }

    fn operations(&self, tag: &Value) -> Vec<Place<'a>> {
        let mut found = Vec::new();
        for (path, methods) in entries(&self.document["paths"]) {
            for (method, operation) in entries(methods) {
                if operation["tags"][0] == tag["name"] {
                    found.push(Place {
                        method,
                        path,
                        operation,
                    });
                }
            }
        }
        found
    }

    fn contents(&self) -> String {
        let mut html = String::from("<nav>\n");
        for tag in self.tags() {
            html += &format!("<details><summary>{}</summary>\n<ul>\n", text(&tag["name"]));
            for place in self.operations(tag) {
                html += &format!(
                    "<li><a href=\"#{id}\">{summary}</a> <span class=\"kind\">{heading}</span></li>\n",
                    id = text(&place.operation["operationId"]),
                    summary = text(&place.operation["summary"]),
                    heading = heading(&place),
                );
            }
            html += "</ul>\n</details>\n";
        }
        html + "<p><a href=\"#credentials\">Credentials</a>, <a href=\"#schemas\">schemas</a></p>\n</nav>\n"
    }

    fn area(&self, tag: &Value) -> String {
        let mut html = format!("<h2>{}</h2>\n", text(&tag["name"]));
        html += &paragraphs(&tag["description"]);
        for place in self.operations(tag) {
            html += &self.operation(&place);
        }
        html
    }

    fn operation(&self, place: &Place<'_>) -> String {
        let operation = place.operation;
        let mut html = format!(
            "<section class=\"one\" id=\"{}\">\n<h3>{}</h3>\n<p><strong>{}</strong></p>\n",
            text(&operation["operationId"]),
            heading(place),
            text(&operation["summary"]),
        );
        html += &paragraphs(&operation["description"]);
        html += &parameters(&operation["parameters"]);
        html += &body(&operation["requestBody"]);
        html += &self.answers(&operation["responses"]);
        html + "</section>\n"
    }

    fn answers(&self, answers: &Value) -> String {
        let (mut good, mut bad) = (String::new(), String::new());
        for (status, answer) in entries(answers) {
            let place = answer["$ref"].as_str();
            let answer = place.map_or(answer, |place| self.at(place));
            let kinds = content(&answer["content"]);
            let described = paragraphs(&answer["description"]);
            let line = |inside: &str| {
                format!("<dt><code>{status}</code> {kinds}</dt>\n<dd>{inside}</dd>\n")
            };
            match place {
                Some(_) => bad += &line(&described),
                None => good += &line(&(described + &shown_members(&answer["content"]))),
            }
        }
        format!(
            "<h4>Answers</h4>\n<dl>\n{good}</dl>\n\
             <details><summary>Failures</summary>\n<dl>\n{bad}</dl>\n</details>\n"
        )
    }

    fn at(&self, place: &str) -> &'a Value {
        let pointer = place.trim_start_matches('#');
        self.document.pointer(pointer).unwrap_or(&Value::Null)
    }

    fn credentials(&self) -> String {
        let mut html = String::from("<h2 id=\"credentials\">Credentials</h2>\n<dl>\n");
        for (name, scheme) in entries(&self.document["components"]["securitySchemes"]) {
            html += &format!(
                "<dt><code>{}</code> <span class=\"kind\">{} {}</span></dt>\n<dd>{}</dd>\n",
                escaped(name),
                text(&scheme["type"]),
                text(&scheme["scheme"]),
                paragraphs(&scheme["description"]),
            );
        }
        html + "</dl>\n"
    }

    fn schemas(&self) -> String {
        let mut html = String::from("<h2 id=\"schemas\">Schemas</h2>\n");
        for (name, schema) in entries(&self.document["components"]["schemas"]) {
            html += &format!(
                "<section class=\"one\" id=\"schema-{name}\">\n<h3>{name}</h3>\n{}<p class=\"kind\">{}</p>\n{}</section>\n",
                paragraphs(&schema["description"]),
                kind(schema),
                members(schema),
                name = escaped(name),
            );
        }
        html
    }
}

fn heading(place: &Place<'_>) -> String {
    format!(
        "<span class=\"method {method}\">{upper}</span> <code>{path}</code>",
        method = escaped(place.method),
        upper = escaped(&place.method.to_ascii_uppercase()),
        path = escaped(place.path),
    )
}

fn parameters(given: &Value) -> String {
    let Some(given) = given.as_array() else {
        return String::new();
    };
    let mut html = String::from("<h4>Parameters</h4>\n<dl>\n");
    for parameter in given {
        html += &format!(
            "<dt><code>{}</code> <span class=\"kind\">{}, {}</span></dt>\n<dd>{}</dd>\n",
            text(&parameter["name"]),
            text(&parameter["in"]),
            kind(&parameter["schema"]),
            paragraphs(&parameter["description"]),
        );
    }
    html + "</dl>\n"
}

fn body(body: &Value) -> String {
    if body.is_null() {
        return String::new();
    }
    let mut html = format!("<h4>Body</h4>\n<p>{}</p>\n", content(&body["content"]));
    html += &shown_members(&body["content"]);
    for (_, given) in entries(&body["content"]) {
        if let Ok(example) = serde_json::to_string_pretty(&given["example"])
            && !given["example"].is_null()
        {
            html += &format!("<pre>{}</pre>\n", escaped(&example));
        }
    }
    html
}

/// The kinds of content, in a line.
fn content(content: &Value) -> String {
    let kinds: Vec<String> = entries(content)
        .map(|(media, given)| {
            let (media, kind) = (escaped(media), kind(&given["schema"]));
            format!("<code>{media}</code> <span class=\"kind\">{kind}</span>")
        })
        .collect();
    kinds.join(", ")
}

/// The members of a content that has no name of its own.
fn shown_members(content: &Value) -> String {
    entries(content)
        .map(|(_, given)| members(&given["schema"]))
        .collect()
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

/// A text of the document, safe in HTML.
fn text(value: &Value) -> String {
    escaped(value.as_str().unwrap_or_default())
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            letter => safe.push(letter),
        }
    }
    safe
}

/// A text as paragraphs; what stands between backticks is code.
fn paragraphs(value: &Value) -> String {
    let text = text(value);
    let parts = text.split("\n\n").filter(|part| !part.is_empty());
    parts
        .map(|part| format!("<p>{}</p>\n", inline(part)))
        .collect()
}

fn inline(text: &str) -> String {
    let mut html = String::new();
    for (at, part) in text.split('`').enumerate() {
        match at % 2 {
            0 => html += part,
            _ => html += &format!("<code>{part}</code>"),
        }
    }
    html
}
