//! What became of an import.

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};

use super::super::client::{print_json, print_table};
use crate::config::Database;
use crate::store::Agentry;

/// Counts, and everything that was not taken.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    dry_run: bool,
    from: String,
    into: String,
    /// The agent whose key was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) known_key: Option<String>,
    pub(super) agents: Count,
    pub(super) keys: Count,
    pub(super) schemas: Count,
    /// A message counts once for each inbox.
    pub(super) mail: Count,
    pub(super) refused: Vec<Refused>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Count {
    pub(super) imported: u64,
    /// Here already, and left as they are.
    pub(super) present: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Refused {
    pub(super) what: &'static str,
    pub(super) name: String,
    pub(super) reason: String,
}

impl Report {
    pub(super) fn new(source: &Agentry, into: &Database, dry_run: bool) -> Self {
        Self {
            dry_run,
            from: source.to_string(),
            into: into.to_string(),
            known_key: None,
            agents: Count::default(),
            keys: Count::default(),
            schemas: Count::default(),
            mail: Count::default(),
            refused: Vec::new(),
        }
    }

    /// Where everything came from, without a password.
    pub(super) fn from(&self) -> &str {
        &self.from
    }

    /// How many of what were imported and refused.
    pub(super) fn counts(&self) -> Value {
        json!({
            "agents": self.agents.imported,
            "keys": self.keys.imported,
            "schemas": self.schemas.imported,
            "mail": self.mail.imported,
            "refused": self.refused.len(),
        })
    }

    pub(super) fn refuse(&mut self, what: &'static str, name: &str, reason: &str) {
        self.refused.push(Refused {
            what,
            name: name.to_owned(),
            reason: reason.to_owned(),
        });
    }

    pub(super) fn print(&self, json: bool) -> Result<()> {
        if json {
            return print_json(&serde_json::to_value(self)?);
        }
        let done = if self.dry_run {
            "would be imported"
        } else {
            "imported"
        };
        println!("From {} into {}:", self.from, self.into);
        if let Some(agent) = &self.known_key {
            println!("The key that was tried is that of {agent}.");
        }
        for (what, count) in [
            ("agents", &self.agents),
            ("keys", &self.keys),
            ("schemas", &self.schemas),
            ("messages in inboxes", &self.mail),
        ] {
            let (imported, present) = (count.imported, count.present);
            println!("  {what}: {imported} {done}, {present} here already");
        }
        if self.refused.is_empty() {
            println!("Nothing was refused.");
            return Ok(());
        }
        println!("Refused:");
        let rows: Vec<_> = self.refused.iter().map(|it| json!(it)).collect();
        print_table(
            &rows,
            &[("what", "what"), ("name", "name"), ("reason", "reason")],
        );
        Ok(())
    }
}
