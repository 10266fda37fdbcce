//! `amtpd staff …`: who else may run the gateway.

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use hyper::Method;
use serde_json::{Value, json};

use super::client::{Gateway, Target, plain, print_json, print_table, segment};

const PATH: &str = "/v1/admin/staff";

/// Manage the keys of those who run the gateway.
#[derive(Debug, Args)]
pub(super) struct StaffCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a key for a person or a program; it is printed once
    Add {
        /// Whose it is, as the audit log names it
        name: String,
        /// What it lets its owner do
        #[arg(long, value_enum)]
        role: RoleWord,
        /// How long it is good, such as 90d; without it, until it is removed
        #[arg(long, value_name = "SPAN")]
        expires_in: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// List the keys
    List {
        #[command(flatten)]
        target: Target,
    },
    /// End a key at once
    Remove {
        /// The key's id, as `staff list` prints it
        key_id: String,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleWord {
    /// Everything, and who else may do what
    Admin,
    /// The daily work: agents, queue, policies, schemas
    Operator,
    /// Looks at what is set and at what was done; changes nothing, reads no mail
    Auditor,
}

impl StaffCommand {
    pub(super) async fn run(self) -> Result<()> {
        match self.what {
            What::Add {
                name,
                role,
                expires_in,
                target,
            } => {
                let role = format!("{role:?}").to_lowercase();
                let mut form = json!({ "name": name, "role": role });
                if let Some(span) = expires_in {
                    form["expires_in"] = Value::from(span);
                }
                add(&target.connect()?, &form).await
            }
            What::List { target } => list(&target.connect()?).await,
            What::Remove { key_id, target } => remove(&target.connect()?, &key_id).await,
        }
    }
}

async fn add(gateway: &Gateway, form: &Value) -> Result<()> {
    let answer = gateway.call(Method::POST, PATH, Some(form)).await?;
    if gateway.json {
        return print_json(&answer);
    }
    let staff = &answer["staff"];
    println!(
        "Key {} of {}, role {}; shown only now:\n\n  {}\n",
        plain(&staff["id"]),
        plain(&staff["name"]),
        plain(&staff["role"]),
        plain(&staff["key"])
    );
    Ok(())
}

async fn list(gateway: &Gateway) -> Result<()> {
    let answer = gateway.call(Method::GET, PATH, None).await?;
    if gateway.json {
        return print_json(&answer);
    }
    let keys = answer["staff"].as_array().map_or(&[][..], Vec::as_slice);
    if keys.is_empty() {
        println!("No keys but the admin key. Make one with `amtpd staff add NAME --role ROLE`.");
        return Ok(());
    }
    print_table(
        keys,
        &[
            ("key", "id"),
            ("name", "name"),
            ("role", "role"),
            ("made", "created_at"),
            ("ends", "expires_at"),
            ("last used", "last_used"),
        ],
    );
    Ok(())
}

async fn remove(gateway: &Gateway, key_id: &str) -> Result<()> {
    let place = format!("{PATH}/{}", segment(key_id));
    gateway.call(Method::DELETE, &place, None).await?;
    if gateway.json {
        return print_json(&json!({ "removed": key_id }));
    }
    println!("Key {key_id} is no longer good.");
    Ok(())
}
