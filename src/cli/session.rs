//! `amtpd session …`: who is connected.

use anyhow::Result;
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::json;

use super::client::{Gateway, Target, print_json, print_table, segment};
use super::selection;

const PATH: &str = "/v1/admin/sessions";

/// See who is connected and gets mail as it arrives; close a session.
#[derive(Debug, Args)]
pub(super) struct SessionCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List sessions, the oldest first
    List {
        /// Only those of this agent: its name, or name@domain
        #[arg(long, value_name = "NAME")]
        agent: Option<String>,
        /// Only those that this gateway holds, by its number in `amtpd workers`
        #[arg(long, value_name = "NODE")]
        node: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        target: Target,
    },
    /// Close a session for good; its agent is told, and what it did not acknowledge goes to others
    Close {
        /// The session's id, as `session list` prints it
        id: String,
        #[command(flatten)]
        target: Target,
    },
}

impl SessionCommand {
    pub(super) async fn run(self) -> Result<()> {
        match self.what {
            What::List {
                agent,
                node,
                limit,
                target,
            } => {
                let which = [("agent", agent.as_deref()), ("node", node.as_deref())];
                list(&target.connect()?, &which, limit).await
            }
            What::Close { id, target } => close(&target.connect()?, &id).await,
        }
    }
}

async fn list(gateway: &Gateway, which: &[(&str, Option<&str>)], limit: usize) -> Result<()> {
    let (rows, more) = selection::list(gateway, (PATH, "sessions"), which, limit).await?;
    if gateway.json {
        return print_json(&json!({ "sessions": rows, "more": more }));
    }
    if rows.is_empty() {
        println!("Nobody is connected.");
        return Ok(());
    }
    print_table(
        &rows,
        &[
            ("session", "id"),
            ("agent", "agent"),
            ("mailbox", "mailbox"),
            ("kind", "kind"),
            ("state", "state"),
            ("from", "remote"),
            ("node", "node"),
            ("opened", "opened_at"),
            ("last seen", "last_seen"),
            ("unacknowledged", "unacknowledged"),
        ],
    );
    if more {
        println!("There are more: raise --limit.");
    }
    Ok(())
}

async fn close(gateway: &Gateway, id: &str) -> Result<()> {
    let place = format!("{PATH}/{}", segment(id));
    gateway.call(Method::DELETE, &place, None).await?;
    if gateway.json {
        return print_json(&json!({ "closed": id }));
    }
    println!("Session {id} is closed.");
    Ok(())
}
