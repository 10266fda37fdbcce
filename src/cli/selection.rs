//! What commands on many rows share: which rows are meant, lists in pages, and long work in steps.

use std::io::{IsTerminal as _, Write as _};

use anyhow::Result;
use clap::Args;
use hyper::Method;
use serde_json::{Map, Value};

use super::client::{Gateway, with_query};

/// Rows the gateway lists in one page at most.
const PAGE: usize = 1_000;

/// Whom deliveries are from and for.
#[derive(Debug, Args)]
pub(super) struct Parties {
    /// Only those to recipients of this domain
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,
    /// Only those of this sender
    #[arg(long, value_name = "ADDRESS")]
    sender: Option<String>,
    /// Only those to this recipient
    #[arg(long, value_name = "ADDRESS")]
    recipient: Option<String>,
    /// Only those of this message, by its own id or one it travelled under
    #[arg(long, value_name = "ID")]
    message: Option<String>,
}

impl Parties {
    pub(super) fn fields(&self) -> Vec<(&'static str, Option<&str>)> {
        vec![
            ("domain", self.domain.as_deref()),
            ("sender", self.sender.as_deref()),
            ("recipient", self.recipient.as_deref()),
            ("message_id", self.message.as_deref()),
        ]
    }
}

/// The form that says which rows are meant.
pub(super) fn form(fields: &[(&str, Option<&str>)], all: bool) -> Result<Map<String, Value>> {
    let mut form = Map::new();
    for (name, value) in fields {
        if let Some(value) = value {
            form.insert((*name).to_owned(), Value::from(*value));
        }
    }
    match (all, form.is_empty()) {
        (false, true) => anyhow::bail!("which ones? narrow it down, or say --all"),
        (true, false) => anyhow::bail!("--all does not go with anything that narrows it down"),
        (true, true) => {
            form.insert("all".to_owned(), Value::from(true));
        }
        (false, false) => {}
    }
    Ok(form)
}

/// At most `limit` rows of a list, and whether there are more.
pub(super) async fn list(
    gateway: &Gateway,
    (path, member): (&str, &str),
    fields: &[(&str, Option<&str>)],
    limit: usize,
) -> Result<(Vec<Value>, bool)> {
    let mut rows: Vec<Value> = Vec::new();
    let mut cursor = None;
    loop {
        let size = (limit - rows.len()).clamp(1, PAGE).to_string();
        let mut parameters = fields.to_vec();
        parameters.push(("limit", Some(&size)));
        parameters.push(("cursor", cursor.as_deref()));
        let path = with_query(path, &parameters);
        let mut page = gateway.call(Method::GET, &path, None).await?;
        if let Some(found) = page[member].as_array_mut() {
            rows.append(found);
        }
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() || rows.len() >= limit {
            return Ok((rows, cursor.is_some()));
        }
    }
}

/// Does long work step by step; answers how many rows it changed. Who watches sees it count.
pub(super) async fn run(
    gateway: &Gateway,
    path: &str,
    mut form: Map<String, Value>,
    mut progress: Progress,
) -> Result<u64> {
    loop {
        let body = Value::Object(form.clone());
        let step = gateway.call(Method::POST, path, Some(&body)).await?;
        progress.add(step["changed"].as_u64().unwrap_or(0));
        match step["next_cursor"].as_str() {
            Some(next) => form.insert("cursor".to_owned(), Value::from(next)),
            None => return Ok(progress.done()),
        };
    }
}

/// A line that counts, on a terminal only.
pub(super) struct Progress {
    doing: &'static str,
    count: u64,
    shown: bool,
    watched: bool,
}

impl Progress {
    /// Counts from `count` on; `doing` is what the line says, such as `Held`.
    pub(super) fn new(doing: &'static str, count: u64) -> Self {
        Self {
            doing,
            count,
            shown: false,
            watched: std::io::stderr().is_terminal(),
        }
    }

    fn add(&mut self, more: u64) {
        self.count += more;
        if self.watched {
            eprint!("\r{} {} …", self.doing, self.count);
            // A terminal that is gone sees nothing anyway.
            let _ = std::io::stderr().flush();
            self.shown = true;
        }
    }

    fn done(self) -> u64 {
        if self.shown {
            // Over the counting line comes the result.
            eprint!("\r\u{1b}[K");
        }
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_only_meant_where_it_is_said() {
        let some = [("domain", Some("b.test")), ("sender", None)];
        assert_eq!(form(&some, false).unwrap()["domain"], "b.test");
        assert_eq!(form(&some, false).unwrap().len(), 1);
        assert!(form(&some, true).is_err());
        assert!(form(&[("domain", None)], false).is_err());
        assert_eq!(form(&[], true).unwrap()["all"], true);
    }
}
