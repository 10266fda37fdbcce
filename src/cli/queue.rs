//! `amtpd queue …`: the operator's hands on what waits.

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use hyper::Method;
use serde_json::json;

use super::client::{Target, print_json, print_table, segment};
use super::selection::{self, Parties, Progress, form};

const PATH: &str = "/v1/admin/deliveries";

/// Look at the queue; stop, release or hurry what waits in it.
#[derive(Debug, Args)]
pub(super) struct QueueCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List what waits, in the order of the queue
    List {
        #[command(flatten)]
        which: Which,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        target: Target,
    },
    /// Show for whom most waits, in mailboxes and in the queue
    Lag {
        /// Only this agent, topic or group: a name, or name@domain
        #[arg(long, value_name = "NAME")]
        agent: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 20)]
        limit: usize,
        #[command(flatten)]
        target: Target,
    },
    /// Stop deliveries: they wait until they are released
    Hold(Change),
    /// Let held deliveries go on, at the end of the queue
    Release(Change),
    /// Try deferred deliveries at once
    Retry(Change),
}

#[derive(Debug, Args)]
struct Which {
    #[command(flatten)]
    parties: Parties,
    /// Only those with this way out: domain:NAME, agent:NUMBER or group:NUMBER
    #[arg(long, value_name = "DESTINATION")]
    destination: Option<String>,
    /// Only those in this state
    #[arg(long, value_enum)]
    state: Option<State>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Queued,
    Deferred,
    Held,
}

#[derive(Debug, Args)]
struct Change {
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
        fields.push(("destination", self.destination.as_deref()));
        let state = self.state.map(|state| match state {
            State::Queued => "queued",
            State::Deferred => "deferred",
            State::Held => "held",
        });
        fields.push(("state", state));
        fields
    }
}

impl QueueCommand {
    pub(super) async fn run(self) -> Result<()> {
        match self.what {
            What::List {
                which,
                limit,
                target,
            } => list(which, limit, target).await,
            What::Lag {
                agent,
                limit,
                target,
            } => lag(agent, limit, target).await,
            What::Hold(change) => change.run("hold", "Held").await,
            What::Release(change) => change.run("release", "Released").await,
            What::Retry(change) => change.run("retry", "Made due").await,
        }
    }
}

async fn list(which: Which, limit: usize, target: Target) -> Result<()> {
    let gateway = target.connect()?;
    let place = (PATH, "deliveries");
    let (rows, more) = selection::list(&gateway, place, &which.fields(), limit).await?;
    if gateway.json {
        return print_json(&json!({ "deliveries": rows, "more": more }));
    }
    if rows.is_empty() {
        println!("Nothing waits.");
        return Ok(());
    }
    print_table(
        &rows,
        &[
            ("id", "id"),
            ("message", "message_id"),
            ("from", "sender"),
            ("to", "recipient"),
            ("state", "state"),
            ("tries", "attempts"),
            ("next", "next_retry"),
            ("error", "error_code"),
            ("gives up", "give_up_at"),
        ],
    );
    if more {
        println!("More waits: raise --limit.");
    }
    Ok(())
}

async fn lag(agent: Option<String>, limit: usize, target: Target) -> Result<()> {
    let gateway = target.connect()?;
    let mut path = format!("/v1/admin/lag?limit={limit}");
    if let Some(agent) = &agent {
        path += &format!("&agent={}", segment(agent));
    }
    let answer = gateway.call(Method::GET, &path, None).await?;
    if gateway.json {
        return print_json(&answer);
    }
    let rows = answer["lag"].as_array().cloned().unwrap_or_default();
    if rows.is_empty() {
        println!("Nothing waits.");
        return Ok(());
    }
    print_table(
        &rows,
        &[
            ("address", "address"),
            ("kind", "kind"),
            ("in mailbox", "waiting"),
            ("bytes", "waiting_bytes"),
            ("in queue", "queued"),
            ("oldest (s)", "oldest_seconds"),
        ],
    );
    Ok(())
}

impl Change {
    async fn run(self, verb: &str, done: &'static str) -> Result<()> {
        let form = form(&self.which.fields(), self.all)?;
        let gateway = self.target.connect()?;
        let path = format!("{PATH}/{verb}");
        let progress = Progress::new(done, 0);
        let changed = selection::run(&gateway, &path, form, progress).await?;
        if gateway.json {
            return print_json(&json!({ "changed": changed }));
        }
        println!("{done} {changed}.");
        Ok(())
    }
}
