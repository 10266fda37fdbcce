//! Options of `agent add` and `agent set` for groups and bounds.

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Agent,
    Group,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Spread {
    RoundRobin,
    LeastOutstanding,
    Capability,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum WhenFull {
    Hold,
    Refuse,
    DeadLetter,
}

#[derive(Debug, Args)]
pub(super) struct Shared {
    /// What stands behind the address; cannot be changed later
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// An agent of a group, name@domain; may be repeated, and takes the place of those before
    #[arg(long = "member", value_name = "ADDRESS")]
    members: Vec<String>,
    /// How a group picks the member that is called
    #[arg(long, value_enum, requires = "members")]
    spread: Option<Spread>,
    /// The most messages that may wait; bounds given take the place of all before
    #[arg(long, value_name = "COUNT")]
    max_messages: Option<u64>,
    /// The most bytes that may wait
    #[arg(long, value_name = "BYTES")]
    max_bytes: Option<u64>,
    /// How long the oldest may have waited, in seconds
    #[arg(long, value_name = "SECONDS")]
    max_age: Option<u64>,
    /// What happens to mail beyond the bounds
    #[arg(long, value_enum)]
    when_full: Option<WhenFull>,
    /// Take the bounds away
    #[arg(long, conflicts_with_all = ["max_messages", "max_bytes", "max_age", "when_full"])]
    unbounded: bool,
}

impl Shared {
    /// Adds the members of the form that were given.
    pub(super) fn add_to(&self, form: &mut Map<String, Value>) {
        if let Some(kind) = self.kind {
            form.insert("kind".to_owned(), word(&kind));
        }
        if !self.members.is_empty() {
            let mut group = json!({ "members": self.members });
            if let Some(spread) = self.spread {
                group["spread"] = word(&spread);
            }
            form.insert("group".to_owned(), group);
        }
        let bounds = [
            ("messages", self.max_messages.map(Value::from)),
            ("bytes", self.max_bytes.map(Value::from)),
            ("age_seconds", self.max_age.map(Value::from)),
            ("when_full", self.when_full.map(|when| word(&when))),
        ];
        let bounds: Map<String, Value> = bounds
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect();
        if self.unbounded {
            form.insert("bounds".to_owned(), Value::Null);
        } else if !bounds.is_empty() {
            form.insert("bounds".to_owned(), Value::Object(bounds));
        }
    }
}

/// The word that the API knows an option's value by.
fn word(value: &impl ValueEnum) -> Value {
    let name = value.to_possible_value();
    let name = name.map(|name| name.get_name().replace('-', "_"));
    name.map_or(Value::Null, Value::from)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        shared: Shared,
    }

    fn form(line: &[&str]) -> Option<Value> {
        let line = Line::try_parse_from(["x"].iter().chain(line)).ok()?;
        let mut form = Map::new();
        line.shared.add_to(&mut form);
        Some(Value::Object(form))
    }

    #[test]
    fn options_become_members_of_the_form() {
        for (line, expected) in [
            (&[][..], Some(json!({}))),
            (
                &[
                    "--kind",
                    "group",
                    "--member",
                    "a@x.test",
                    "--member",
                    "b@x.test",
                    "--spread",
                    "least-outstanding",
                ],
                Some(
                    json!({ "kind": "group", "group": { "members": ["a@x.test", "b@x.test"], "spread": "least_outstanding" } }),
                ),
            ),
            (
                &["--max-messages", "5", "--when-full", "dead-letter"],
                Some(json!({ "bounds": { "messages": 5, "when_full": "dead_letter" } })),
            ),
            (&["--unbounded"], Some(json!({ "bounds": null }))),
            (&["--unbounded", "--max-age", "5"], None),
            (&["--spread", "capability"], None),
        ] {
            assert_eq!(form(line), expected, "{line:?}");
        }
    }
}
