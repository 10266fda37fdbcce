//! `amtpd agent key …`: the API keys of an agent.

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use hyper::Method;
use serde_json::{Map, Value, json};

use super::path;
use crate::cli::client::{Gateway, Target, plain, print_json, print_table, segment};

#[derive(Debug, Args)]
pub(super) struct KeyCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Give an agent one more key; it is printed once
    Add {
        /// The name, or name@domain
        name: String,
        /// Something it is good for; may be repeated; without it, for everything
        #[arg(long = "scope", value_enum)]
        scopes: Vec<ScopeWord>,
        /// The name of its limits in `limits.tiers`
        #[arg(long)]
        tier: Option<String>,
        /// What to call it
        #[arg(long)]
        label: Option<String>,
        /// How long it is good, such as 90d; without it, until it is revoked
        #[arg(long, value_name = "SPAN")]
        expires_in: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// List the keys of an agent
    List {
        /// The name, or name@domain
        name: String,
        #[command(flatten)]
        target: Target,
    },
    /// End a key of an agent at once
    Revoke {
        /// The name, or name@domain
        name: String,
        /// The key's id, as `agent key list` prints it
        key_id: String,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ScopeWord {
    /// Sending, and cancelling what it sent
    Send,
    /// Its inbox
    Receive,
    /// What became of messages
    Track,
}

impl KeyCommand {
    pub(super) async fn run(self) -> Result<()> {
        match self.what {
            What::Add {
                name,
                scopes,
                tier,
                label,
                expires_in,
                target,
            } => {
                let mut form = Map::new();
                let texts = [("tier", tier), ("label", label), ("expires_in", expires_in)];
                for (member, value) in texts {
                    if let Some(value) = value {
                        form.insert(member.to_owned(), Value::from(value));
                    }
                }
                if !scopes.is_empty() {
                    let words = scopes.iter().map(|it| format!("{it:?}").to_lowercase());
                    form.insert("scopes".to_owned(), words.collect());
                }
                add(&target.connect()?, &name, form).await
            }
            What::List { name, target } => list(&target.connect()?, &name).await,
            What::Revoke {
                name,
                key_id,
                target,
            } => revoke(&target.connect()?, &name, &key_id).await,
        }
    }
}

async fn add(gateway: &Gateway, name: &str, form: Map<String, Value>) -> Result<()> {
    let place = format!("{}/keys", path(name));
    let answer = gateway
        .call(Method::POST, &place, Some(&Value::Object(form)))
        .await?;
    if gateway.json {
        return print_json(&answer);
    }
    let key = &answer["key"];
    println!(
        "Key {} of {name}, good for {}; shown only now:\n\n  {}\n",
        plain(&key["id"]),
        plain(&key["scopes"]),
        plain(&key["api_key"])
    );
    Ok(())
}

async fn list(gateway: &Gateway, name: &str) -> Result<()> {
    let place = format!("{}/keys", path(name));
    let answer = gateway.call(Method::GET, &place, None).await?;
    if gateway.json {
        return print_json(&answer);
    }
    table(answer["keys"].as_array().map_or(&[], Vec::as_slice));
    Ok(())
}

/// Prints keys as a table.
pub(super) fn table(keys: &[Value]) {
    print_table(
        keys,
        &[
            ("key", "id"),
            ("label", "label"),
            ("scopes", "scopes"),
            ("tier", "tier"),
            ("made", "created_at"),
            ("ends", "expires_at"),
            ("last used", "last_used"),
        ],
    );
}

pub(super) async fn revoke(gateway: &Gateway, name: &str, key_id: &str) -> Result<()> {
    gateway
        .call(
            Method::DELETE,
            &format!("{}/keys/{}", path(name), segment(key_id)),
            None,
        )
        .await?;
    if gateway.json {
        return print_json(&json!({ "revoked": key_id }));
    }
    println!("Key {key_id} is no longer good.");
    Ok(())
}
