//! `amtpd dead-letter …`: the operator's hands on what was given up.

use anyhow::{Result, ensure};
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Map, Value, json};

use super::client::{Gateway, Target, plain, print_json, print_table};
use super::selection::{self, Parties, Progress, form};

const PATH: &str = "/v1/admin/dead-letters";
/// Dead letters the gateway takes by their numbers in one request.
const MOST_IDS: usize = 500;

/// Look at what was given up; put it back into the queue or drop it.
#[derive(Debug, Args)]
pub(super) struct DeadLetterCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List dead letters, newest first
    List {
        #[command(flatten)]
        which: Which,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        target: Target,
    },
    /// Show one dead letter with its message
    Show {
        /// Its number
        id: i64,
        #[command(flatten)]
        target: Target,
    },
    /// Put dead letters back into the queue as new deliveries
    Replay(Change),
    /// Forget dead letters
    Drop(Change),
}

#[derive(Debug, Args)]
struct Which {
    #[command(flatten)]
    parties: Parties,
    /// Only those that failed with this code
    #[arg(long, value_name = "CODE")]
    error: Option<String>,
    /// Only those given up since this time
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

#[derive(Debug, Args)]
struct Change {
    /// Their numbers
    #[arg(value_name = "ID")]
    ids: Vec<i64>,
    #[command(flatten)]
    which: Which,
    /// All of them
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    target: Target,
}

impl Which {
    fn fields(&self) -> Vec<(&'static str, Option<&str>)> {
        let mut fields = self.parties.fields();
        fields.push(("error_code", self.error.as_deref()));
        fields.push(("since", self.since.as_deref()));
        fields
    }
}

impl DeadLetterCommand {
    pub(super) async fn run(self) -> Result<()> {
        match self.what {
            What::List {
                which,
                limit,
                target,
            } => list(which, limit, target).await,
            What::Show { id, target } => show(id, target).await,
            What::Replay(change) => change.run("replay", "Replayed").await,
            What::Drop(change) => change.run("drop", "Dropped").await,
        }
    }
}

async fn list(which: Which, limit: usize, target: Target) -> Result<()> {
    let gateway = target.connect()?;
    let place = (PATH, "dead_letters");
    let (mut rows, more) = selection::list(&gateway, place, &which.fields(), limit).await?;
    if gateway.json {
        return print_json(&json!({ "dead_letters": rows, "more": more }));
    }
    if rows.is_empty() {
        println!("No dead letters.");
        return Ok(());
    }
    for row in &mut rows {
        let reason = row["failure_reason"].take();
        row["failure_reason"] = Value::from(in_words(&reason));
    }
    print_table(
        &rows,
        &[
            ("id", "id"),
            ("message", "message_id"),
            ("from", "sender"),
            ("to", "recipient"),
            ("tries", "attempts"),
            ("given up", "dlq_timestamp"),
            ("bounce", "bounce"),
            ("why", "failure_reason"),
        ],
    );
    if more {
        println!("There are more: raise --limit.");
    }
    Ok(())
}

fn in_words(reason: &Value) -> String {
    format!("{}: {}", plain(&reason["code"]), plain(&reason["text"]))
}

async fn show(id: i64, target: Target) -> Result<()> {
    let gateway = target.connect()?;
    let letter = gateway
        .call(Method::GET, &format!("{PATH}/{id}"), None)
        .await?;
    if gateway.json {
        return print_json(&letter);
    }
    for (member, value) in letter.as_object().into_iter().flatten() {
        match member.as_str() {
            "original_message" => {}
            "failure_reason" => println!("{member:18} {}", in_words(value)),
            _ => println!("{member:18} {}", plain(value)),
        }
    }
    println!();
    print_json(&letter["original_message"])
}

impl Change {
    async fn run(self, verb: &str, done: &'static str) -> Result<()> {
        let fields = self.which.fields();
        let path = format!("{PATH}/{verb}");
        let changed = if self.ids.is_empty() {
            let form = form(&fields, self.all)?;
            let gateway = self.target.connect()?;
            let progress = Progress::new(done, 0);
            (
                selection::run(&gateway, &path, form, progress).await?,
                gateway,
            )
        } else {
            let narrowed = fields.iter().any(|(_, value)| value.is_some());
            ensure!(
                !narrowed && !self.all,
                "give numbers, or say which ones, not both"
            );
            let gateway = self.target.connect()?;
            (numbered(&gateway, &path, &self.ids, done).await?, gateway)
        };
        let (changed, gateway) = changed;
        if gateway.json {
            return print_json(&json!({ "changed": changed }));
        }
        println!("{done} {changed}.");
        let missing = (self.ids.len() as u64).saturating_sub(changed);
        ensure!(
            self.ids.is_empty() || missing == 0,
            "{missing} of {} were not there",
            self.ids.len()
        );
        Ok(())
    }
}

async fn numbered(gateway: &Gateway, path: &str, ids: &[i64], done: &'static str) -> Result<u64> {
    let mut changed = 0;
    for ids in ids.chunks(MOST_IDS) {
        let form = Map::from_iter([("ids".to_owned(), json!(ids))]);
        changed = selection::run(gateway, path, form, Progress::new(done, changed)).await?;
    }
    Ok(changed)
}
