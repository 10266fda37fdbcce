//! `amtpd message …`: what was sent or received, and its way.

use anyhow::Result;
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::Value;

use super::client::{Target, plain, print_json, print_table, segment, with_query};
use super::trace::TraceCommand;

/// Look up messages that were sent or received.
#[derive(Debug, Args)]
pub(super) struct MessageCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    List(List),
    Show(Show),
    Trace(TraceCommand),
}

/// List messages, newest first
#[derive(Debug, Args)]
struct List {
    /// Only those in this state: pending, queued, delivered, failed, …
    #[arg(long)]
    status: Option<String>,
    /// Only those of this sender
    #[arg(long, value_name = "ADDRESS")]
    sender: Option<String>,
    /// Only those to this recipient
    #[arg(long, value_name = "ADDRESS")]
    recipient: Option<String>,
    /// Only those accepted since this time
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    target: Target,
}

/// Show one message with what became of it
#[derive(Debug, Args)]
struct Show {
    /// The message's id
    message_id: String,
    #[command(flatten)]
    target: Target,
}

impl MessageCommand {
    pub(super) async fn run(self) -> Result<()> {
        match self.what {
            What::List(command) => command.run().await,
            What::Show(command) => command.run().await,
            What::Trace(command) => command.run().await,
        }
    }
}

impl List {
    async fn run(self) -> Result<()> {
        let gateway = self.target.connect()?;
        let limit = self.limit.to_string();
        let path = with_query(
            "/v1/messages",
            &[
                ("limit", Some(&limit)),
                ("status", self.status.as_deref()),
                ("sender", self.sender.as_deref()),
                ("recipient", self.recipient.as_deref()),
                ("since", self.since.as_deref()),
            ],
        );
        let page = gateway.call(Method::GET, &path, None).await?;
        if gateway.json {
            return print_json(&page);
        }
        let messages: Vec<Value> = page["messages"].as_array().cloned().unwrap_or_default();
        print_table(
            &messages,
            &[
                ("id", "message_id"),
                ("from", "sender"),
                ("to", "recipients"),
                ("subject", "subject"),
                ("accepted", "created_at"),
                ("status", "status"),
            ],
        );
        Ok(())
    }
}

impl Show {
    async fn run(self) -> Result<()> {
        let gateway = self.target.connect()?;
        let path = format!("/v1/messages/{}", segment(&self.message_id));
        let message = gateway.call(Method::GET, &path, None).await?;
        if gateway.json {
            return print_json(&message);
        }
        for (member, value) in message.as_object().into_iter().flatten() {
            if member != "recipient_status" {
                println!("{member:20} {}", plain(value));
            }
        }
        println!();
        let recipients: Vec<Value> = message["recipient_status"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        print_table(
            &recipients,
            &[
                ("recipient", "address"),
                ("status", "status"),
                ("since", "timestamp"),
                ("attempts", "attempts"),
                ("acknowledged", "acknowledged_at"),
                ("error", "error_code"),
            ],
        );
        Ok(())
    }
}
