//! `amtpd send` and `amtpd inbox …`: an agent's hands.

use std::io::Read as _;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Subcommand};
use hyper::Method;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::client::{Gateway, Target, plain, print_json, print_table, segment};
use super::watch::WatchCommand;

/// Send a message as an agent.
#[derive(Debug, Args)]
pub(super) struct SendCommand {
    /// The sending agent's address; else `address` of the profile
    #[arg(long, value_name = "ADDRESS")]
    from: Option<String>,
    /// A recipient; may be repeated
    #[arg(long, required = true, value_name = "ADDRESS")]
    to: Vec<String>,
    /// The subject
    #[arg(long)]
    subject: Option<String>,
    /// The schema of the payload
    #[arg(long)]
    schema: Option<String>,
    /// The payload: JSON, @FILE, or - for standard input
    #[arg(long, value_name = "JSON")]
    payload: String,
    /// A member of `headers`, such as priority=high; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE")]
    headers: Vec<String>,
    /// The id of the message this one answers
    #[arg(long, value_name = "ID")]
    in_reply_to: Option<String>,
    /// The id to give; else the gateway mints one
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,
    /// The key under which a repeated send is delivered once
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    target: Target,
}

impl SendCommand {
    pub(super) async fn run(self) -> Result<()> {
        let gateway = self.target.clone().connect()?;
        let sender = gateway.address(self.from.clone())?;
        let message = self.message(sender)?;
        let receipt = gateway.submit("/v1/messages", &message).await?;
        if gateway.json {
            return print_json(&receipt);
        }
        println!("Accepted as {}.", plain(&receipt["message_id"]));
        let recipients: Vec<Value> = receipt["recipients"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        print_table(
            &recipients,
            &[
                ("recipient", "address"),
                ("status", "status"),
                ("error", "error_code"),
            ],
        );
        Ok(())
    }

    fn message(self, sender: String) -> Result<Outgoing> {
        let mut message = Map::new();
        message.insert("version".to_owned(), Value::from("1.0"));
        message.insert("sender".to_owned(), Value::from(sender));
        message.insert("recipients".to_owned(), json!(self.to));
        for (name, value) in [
            ("subject", self.subject),
            ("schema", self.schema),
            ("in_reply_to", self.in_reply_to),
            ("message_id", self.message_id),
            ("idempotency_key", self.idempotency_key),
        ] {
            if let Some(value) = value {
                message.insert(name.to_owned(), Value::from(value));
            }
        }
        if !self.headers.is_empty() {
            let mut headers = Map::new();
            for header in &self.headers {
                let (name, value) = header
                    .split_once('=')
                    .with_context(|| format!("--header {header:?}: must be NAME=VALUE"))?;
                headers.insert(name.to_owned(), Value::from(value));
            }
            message.insert("headers".to_owned(), Value::Object(headers));
        }
        Ok(Outgoing {
            members: message,
            payload: payload(&self.payload)?,
        })
    }
}

/// A message whose payload is sent as it was given: numbers keep their text.
#[derive(Serialize)]
struct Outgoing {
    #[serde(flatten)]
    members: Map<String, Value>,
    payload: Box<RawValue>,
}

fn payload(given: &str) -> Result<Box<RawValue>> {
    let text = match given.strip_prefix('@') {
        Some(path) => {
            std::fs::read_to_string(path).with_context(|| format!("payload file {path}"))?
        }
        None if given == "-" => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .context("payload from standard input")?;
            text
        }
        None => given.to_owned(),
    };
    serde_json::from_str(&text)
        .context("--payload is not JSON; text needs quotes of its own: '\"hello\"'")
}

/// Read and acknowledge an agent's mail.
#[derive(Debug, Args)]
pub(super) struct InboxCommand {
    #[command(subcommand)]
    what: InboxWhat,
}

#[derive(Debug, Subcommand)]
enum InboxWhat {
    /// List waiting mail, oldest first
    List {
        /// The agent's address; else `address` of the profile
        address: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Only mail that was never handed out
        #[arg(long)]
        unread: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Show one waiting message whole
    Show {
        /// The message's id
        message_id: String,
        /// The agent's address; else `address` of the profile
        #[arg(long)]
        address: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Acknowledge mail: it leaves the inbox
    Ack {
        /// The messages' ids
        #[arg(required = true)]
        message_ids: Vec<String>,
        /// The agent's address; else `address` of the profile
        #[arg(long)]
        address: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    Watch(WatchCommand),
}

impl InboxCommand {
    pub(super) async fn run(self) -> Result<()> {
        match self.what {
            InboxWhat::List {
                address,
                limit,
                unread,
                target,
            } => {
                let gateway = target.connect()?;
                let filter = if unread { "&status=unread" } else { "" };
                let path = format!("{}?limit={limit}{filter}", inbox(&gateway, address)?);
                let page = gateway.call(Method::GET, &path, None).await?;
                if gateway.json {
                    return print_json(&page);
                }
                print_mail(&page);
                Ok(())
            }
            InboxWhat::Show {
                message_id,
                address,
                target,
            } => {
                let gateway = target.connect()?;
                print_json(&find(&gateway, address, &message_id).await?)
            }
            InboxWhat::Ack {
                message_ids,
                address,
                target,
            } => {
                let gateway = target.connect()?;
                let path = format!("{}/ack", inbox(&gateway, address)?);
                let answer = gateway
                    .call(
                        Method::POST,
                        &path,
                        Some(&json!({ "message_ids": message_ids })),
                    )
                    .await?;
                if gateway.json {
                    return print_json(&answer);
                }
                let missing = plain(&answer["not_found"]);
                ensure!(
                    missing.is_empty() || missing == "-",
                    "not in the inbox: {missing}"
                );
                println!("Acknowledged {}.", message_ids.len());
                Ok(())
            }
            InboxWhat::Watch(command) => command.run().await,
        }
    }
}

fn inbox(gateway: &Gateway, address: Option<String>) -> Result<String> {
    Ok(format!("/v1/inbox/{}", segment(&gateway.address(address)?)))
}

fn print_mail(page: &Value) {
    let messages: Vec<Value> = page["messages"].as_array().cloned().unwrap_or_default();
    if messages.is_empty() {
        println!("Nothing waits.");
        return;
    }
    print_table(
        &messages,
        &[
            ("id", "message_id"),
            ("from", "sender"),
            ("subject", "subject"),
            ("schema", "schema"),
            ("sent", "timestamp"),
            ("status", "status"),
        ],
    );
    if page["has_more"] == Value::Bool(true) {
        println!("More waits: raise --limit.");
    }
}

async fn find(gateway: &Gateway, address: Option<String>, id: &str) -> Result<Value> {
    let inbox = inbox(gateway, address)?;
    let mut cursor = String::new();
    loop {
        let page = gateway
            .call(
                Method::GET,
                &format!("{inbox}?limit=1000&cursor={cursor}"),
                None,
            )
            .await?;
        let messages = page["messages"].as_array().cloned().unwrap_or_default();
        if let Some(found) = messages
            .into_iter()
            .find(|message| message["message_id"] == id)
        {
            return Ok(found);
        }
        page["next_cursor"]
            .as_str()
            .with_context(|| format!("{id} is not in the inbox"))?
            .clone_into(&mut cursor);
    }
}
