//! `amtpd workers`: what a running gateway is doing, and the others that use its database.

use anyhow::Result;
use clap::Args;
use hyper::Method;
use serde_json::{Value, json};

use super::client::{Target, print_json, print_table};

/// Show what the workers of all gateways of a database are doing.
#[derive(Debug, Args)]
pub(super) struct WorkersCommand {
    #[command(flatten)]
    target: Target,
}

const WORKERS: [(&str, &str); 4] = [
    ("worker", "name"),
    ("state", "state"),
    ("since", "since"),
    ("detail", "detail"),
];

impl WorkersCommand {
    pub(super) async fn run(self) -> Result<()> {
        let gateway = self.target.connect()?;
        let answer = gateway.call(Method::GET, "/v1/admin/workers", None).await?;
        if gateway.json {
            return print_json(&answer);
        }
        let gateways = items(&answer["gateways"]);
        let workers = items(&answer["workers"]);
        if gateways.is_empty() {
            if workers.is_empty() {
                println!("No workers.");
            } else {
                print_table(&workers, &WORKERS);
            }
            return Ok(());
        }
        let lines: Vec<Value> = gateways.iter().map(line).collect();
        print_table(
            &lines,
            &[
                ("gateway", "gateway"),
                ("version", "version"),
                ("last seen", "seen_at"),
                ("shards", "shards"),
            ],
        );
        println!();
        let workers: Vec<Value> = gateways
            .iter()
            .flat_map(|gateway| workers_of(gateway, &workers))
            .collect();
        let mut columns = vec![("gateway", "gateway")];
        columns.extend(WORKERS);
        print_table(&workers, &columns);
        Ok(())
    }
}

fn items(list: &Value) -> Vec<Value> {
    list.as_array().cloned().unwrap_or_default()
}

/// The first part of its number, with a star where it is the one that answers.
fn name(gateway: &Value) -> String {
    let node = gateway["node"].as_str().unwrap_or_default();
    let short = node.split('-').next().unwrap_or_default();
    let star = if gateway["answers"] == true { " *" } else { "" };
    format!("{short}{star}")
}

fn line(gateway: &Value) -> Value {
    json!({
        "gateway": name(gateway),
        "version": gateway["version"],
        "seen_at": gateway["seen_at"],
        "shards": gateway["shards"],
    })
}

/// What the workers of a gateway do: the one that answers knows best of itself.
fn workers_of(gateway: &Value, own: &[Value]) -> Vec<Value> {
    let workers = if gateway["answers"] == true {
        own.to_vec()
    } else {
        items(&gateway["workers"])
    };
    let named = |mut worker: Value| {
        worker["gateway"] = name(gateway).into();
        worker
    };
    workers
        .into_iter()
        .filter(Value::is_object)
        .map(named)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answering_gateway_shows_its_own_board_and_the_others_what_they_told() {
        let own = [json!({"name": "queue", "state": "idle"})];
        let told = json!([{"name": "queue", "state": "busy"}, 7]);
        let here = json!({"node": "0a1b2c3d-0000", "answers": true, "workers": told});
        let there = json!({"node": "ffff0000-0000", "answers": false, "workers": told});
        assert_eq!(name(&here), "0a1b2c3d *");
        assert_eq!(workers_of(&here, &own)[0]["state"], "idle");
        let others = workers_of(&there, &own);
        assert_eq!(others.len(), 1);
        assert_eq!(others[0]["state"], "busy");
        assert_eq!(others[0]["gateway"], "ffff0000");
    }
}
