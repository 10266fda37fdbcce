//! `amtpd agent …`: local agents, their keys and enrolment tokens.

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use hyper::Method;
use serde_json::{Map, Value, json};

mod a2a;
mod keys;
mod shared;

use super::client::{Gateway, Target, plain, print_json, print_table, segment};

/// Manage local agents.
#[derive(Debug, Args)]
pub(super) struct AgentCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Register an agent; its key, and the secret of its webhook, are printed once
    Add {
        /// The name, or name@domain
        name: String,
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        target: Target,
    },
    /// List agents
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Show one agent with its keys
    Show {
        /// The name, or name@domain
        name: String,
        #[command(flatten)]
        target: Target,
    },
    /// Change an agent; what is not given stays
    Set {
        /// The name, or name@domain
        name: String,
        #[command(flatten)]
        settings: Settings,
        /// Take mail and let it send
        #[arg(long, conflicts_with = "inactive")]
        active: bool,
        /// Refuse its mail and its keys
        #[arg(long)]
        inactive: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Delete an agent, its keys and the mail in its inbox
    Remove {
        /// The name, or name@domain
        name: String,
        #[command(flatten)]
        target: Target,
    },
    /// The keys of an agent, each with what it is good for
    Key(keys::KeyCommand),
    /// Give an agent a new key; the old ones end after the overlap
    RotateKey {
        /// The name, or name@domain
        name: String,
        /// Take the place of this key only, and be good for the same
        #[arg(long = "key", value_name = "ID")]
        key_id: Option<String>,
        /// How long the old keys stay good, such as 0s, 1h or 7d
        #[arg(long, default_value = "1h", value_name = "SPAN")]
        overlap: String,
        #[command(flatten)]
        target: Target,
    },
    /// Give the webhook of an agent a new secret; for a day what is sent is signed with both
    RotateWebhookSecret {
        /// The name, or name@domain
        name: String,
        #[command(flatten)]
        target: Target,
    },
    /// End a key of an agent at once
    RevokeKey {
        /// The name, or name@domain
        name: String,
        /// The key's id, as `agent show` prints it
        key_id: String,
        #[command(flatten)]
        target: Target,
    },
    /// Make a token with which agents register themselves; it is printed once
    EnrolmentToken {
        /// The names it is good for, with *
        #[arg(long, default_value = "*", value_name = "PATTERN")]
        names: String,
        /// How many agents it registers
        #[arg(long, default_value_t = 1)]
        uses: u32,
        /// How long it is good
        #[arg(long, default_value = "24h", value_name = "SPAN")]
        expires_in: String,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    /// It reads its inbox
    Pull,
    /// Its webhook is called
    Push,
    /// It is an A2A agent, which the gateway asks as an A2A client
    A2a,
    /// It stands for an agent of another domain
    Peer,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Replies {
    Auto,
    Requested,
    Never,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Sharing {
    Shared,
    Copies,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SessionOrder {
    Kept,
    None,
}

#[derive(Debug, Args)]
struct Settings {
    /// How mail reaches the agent
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// The webhook, or a wss:// address that the gateway dials, for mode push; the A2A agent, for mode a2a;
    /// an address such as bob@b.example, for mode peer
    #[arg(long, value_name = "URL|ADDRESS")]
    target: Option<String>,
    /// A header for the webhook or the A2A agent, such as "Authorization: Bearer …"; may be repeated
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// A schema it takes, with *; may be repeated
    #[arg(long = "schema", value_name = "PATTERN")]
    schemas: Vec<String>,
    /// Something it can do; may be repeated
    #[arg(long = "capability", value_name = "WORD")]
    capabilities: Vec<String>,
    /// Its role
    #[arg(long)]
    role: Option<String>,
    /// A sentence for people
    #[arg(long)]
    description: Option<String>,
    /// What people call it, as in the mail they get from it; empty takes the name away
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
    /// Show it in discovery, or not
    #[arg(long, value_name = "true|false")]
    listed: Option<bool>,
    /// Whether answers of its webhook become reply messages
    #[arg(long, value_enum)]
    replies: Option<Replies>,
    /// Whether each message goes to one of its sessions or to all
    #[arg(long, value_enum)]
    sessions: Option<Sharing>,
    /// Whether the mail of one sender keeps its order among sessions that share it
    #[arg(long, value_enum)]
    order: Option<SessionOrder>,
    #[command(flatten)]
    shared: shared::Shared,
    #[command(flatten)]
    a2a: a2a::A2a,
}

impl Settings {
    fn members(self) -> Result<Map<String, Value>> {
        let mut members = Map::new();
        self.shared.add_to(&mut members);
        self.a2a.add_to(&mut members);
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                members.insert(name.to_owned(), value);
            }
        };
        let word = |value: &dyn ToString| Value::from(value.to_string());
        set(
            "delivery_mode",
            self.mode
                .map(|mode| word(&format!("{mode:?}").to_lowercase())),
        );
        set("push_target", self.target.map(Value::from));
        set(
            "supported_schemas",
            (!self.schemas.is_empty()).then(|| json!(self.schemas)),
        );
        set(
            "capabilities",
            (!self.capabilities.is_empty()).then(|| json!(self.capabilities)),
        );
        set("role", self.role.map(Value::from));
        set("description", self.description.map(Value::from));
        set("display_name", self.display_name.map(Value::from));
        set("listed", self.listed.map(Value::from));
        set(
            "replies",
            self.replies
                .map(|replies| word(&format!("{replies:?}").to_lowercase())),
        );
        let mut live = Map::new();
        if let Some(sessions) = self.sessions {
            live.insert(
                "sessions".to_owned(),
                word(&format!("{sessions:?}").to_lowercase()),
            );
        }
        if let Some(order) = self.order {
            live.insert(
                "order".to_owned(),
                word(&format!("{order:?}").to_lowercase()),
            );
        }
        set("live", (!live.is_empty()).then_some(Value::Object(live)));
        if !self.headers.is_empty() {
            set("headers", Some(headers(&self.headers)?));
        }
        Ok(members)
    }
}

fn headers(given: &[String]) -> Result<Value> {
    let mut headers = Map::new();
    for header in given {
        let (name, value) = header
            .split_once(':')
            .ok_or_else(|| anyhow::anyhow!("--header {header:?}: must be \"Name: value\""))?;
        headers.insert(name.trim().to_owned(), Value::from(value.trim()));
    }
    Ok(Value::Object(headers))
}

impl AgentCommand {
    pub(super) async fn run(self) -> Result<()> {
        match self.what {
            What::Add {
                name,
                settings,
                target,
            } => add(&target.connect()?, name, settings).await,
            What::List { target } => list(&target.connect()?).await,
            What::Show { name, target } => show(&target.connect()?, &name).await,
            What::Set {
                name,
                settings,
                active,
                inactive,
                target,
            } => {
                let mut members = settings.members()?;
                if active || inactive {
                    members.insert("active".to_owned(), Value::from(active));
                }
                set(&target.connect()?, &name, members).await
            }
            What::Remove { name, target } => remove(&target.connect()?, &name).await,
            What::Key(command) => command.run().await,
            What::RotateKey {
                name,
                key_id,
                overlap,
                target,
            } => rotate(&target.connect()?, &name, key_id, &overlap).await,
            What::RotateWebhookSecret { name, target } => {
                rotate_webhook_secret(&target.connect()?, &name).await
            }
            What::RevokeKey {
                name,
                key_id,
                target,
            } => keys::revoke(&target.connect()?, &name, &key_id).await,
            What::EnrolmentToken {
                names,
                uses,
                expires_in,
                target,
            } => {
                let form = json!({ "names": names, "uses": uses, "expires_in": expires_in });
                enrolment_token(&target.connect()?, &form).await
            }
        }
    }
}

fn path(name: &str) -> String {
    format!("/v1/admin/agents/{}", segment(name))
}

async fn add(gateway: &Gateway, name: String, settings: Settings) -> Result<()> {
    let mut form = settings.members()?;
    form.insert("address".to_owned(), Value::from(name));
    let answer = gateway
        .call(Method::POST, "/v1/admin/agents", Some(&Value::Object(form)))
        .await?;
    if gateway.json {
        return print_json(&answer);
    }
    println!("Registered {}.", plain(&answer["agent"]["address"]));
    print_key(&answer);
    print_webhook_secret(&answer);
    Ok(())
}

fn print_key(answer: &Value) {
    println!(
        "Its API key, shown only now:\n\n  {}\n",
        plain(&answer["agent"]["api_key"])
    );
}

/// Prints the secret of a webhook, where the answer has one.
fn print_webhook_secret(answer: &Value) {
    if let Some(secret) = answer["agent"]["webhook_secret"].as_str() {
        println!("The secret that signs what its webhook gets:\n\n  {secret}\n");
    }
}

async fn list(gateway: &Gateway) -> Result<()> {
    let mut agents: Vec<Value> = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/admin/agents?limit=1000&cursor={cursor}");
        let mut page = gateway.call(Method::GET, &path, None).await?;
        if let Some(found) = page["agents"].as_array_mut() {
            agents.append(found);
        }
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    if gateway.json {
        return print_json(&json!({ "agents": agents }));
    }
    if agents.is_empty() {
        println!("No agents. Register one with `amtpd agent add NAME`.");
        return Ok(());
    }
    print_table(
        &agents,
        &[
            ("address", "address"),
            ("kind", "kind"),
            ("mode", "delivery_mode"),
            ("active", "active"),
            ("listed", "listed"),
            ("schemas", "supported_schemas"),
            ("last active", "last_active"),
        ],
    );
    Ok(())
}

async fn show(gateway: &Gateway, name: &str) -> Result<()> {
    let agent = gateway.call(Method::GET, &path(name), None).await?;
    let keys = gateway
        .call(Method::GET, &format!("{}/keys", path(name)), None)
        .await?;
    if gateway.json {
        return print_json(&json!({ "agent": agent["agent"], "keys": keys["keys"] }));
    }
    for (member, value) in agent["agent"].as_object().into_iter().flatten() {
        println!("{member:18} {}", plain(value));
    }
    println!();
    let keys: Vec<Value> = keys["keys"].as_array().cloned().unwrap_or_default();
    keys::table(&keys);
    Ok(())
}

async fn set(gateway: &Gateway, name: &str, members: Map<String, Value>) -> Result<()> {
    anyhow::ensure!(
        !members.is_empty(),
        "nothing to change: see `amtpd agent set --help`"
    );
    let answer = gateway
        .call(Method::PATCH, &path(name), Some(&Value::Object(members)))
        .await?;
    if gateway.json {
        return print_json(&answer);
    }
    println!("Changed {}.", plain(&answer["agent"]["address"]));
    print_webhook_secret(&answer);
    Ok(())
}

async fn remove(gateway: &Gateway, name: &str) -> Result<()> {
    gateway.call(Method::DELETE, &path(name), None).await?;
    if gateway.json {
        return print_json(&json!({ "removed": name }));
    }
    println!("Removed {name}, its keys and its inbox.");
    Ok(())
}

async fn rotate(gateway: &Gateway, name: &str, key: Option<String>, overlap: &str) -> Result<()> {
    let mut form = json!({ "overlap": overlap });
    if let Some(key) = &key {
        form["key_id"] = Value::from(key.as_str());
    }
    let answer = gateway
        .call(
            Method::POST,
            &format!("{}/rotate-key", path(name)),
            Some(&form),
        )
        .await?;
    if gateway.json {
        return print_json(&answer);
    }
    println!(
        "New key of {}; {} in {overlap}.",
        plain(&answer["agent"]["address"]),
        key.map_or("the old ones end".to_owned(), |key| format!("{key} ends"))
    );
    print_key(&answer);
    Ok(())
}

async fn rotate_webhook_secret(gateway: &Gateway, name: &str) -> Result<()> {
    let path = format!("{}/rotate-webhook-secret", path(name));
    let answer = gateway.call(Method::POST, &path, None).await?;
    if gateway.json {
        return print_json(&answer);
    }
    println!(
        "New secret of {}; for a day what is sent is signed with the old one too.",
        plain(&answer["agent"]["address"])
    );
    print_webhook_secret(&answer);
    Ok(())
}

async fn enrolment_token(gateway: &Gateway, form: &Value) -> Result<()> {
    let answer = gateway
        .call(Method::POST, "/v1/admin/enrolment-tokens", Some(form))
        .await?;
    if gateway.json {
        return print_json(&answer);
    }
    let token = &answer["enrolment_token"];
    println!(
        "Good for {} agent(s) named {} until {}; shown only now:\n\n  {}\n",
        plain(&token["uses_left"]),
        plain(&token["names"]),
        plain(&token["expires_at"]),
        plain(&token["token"])
    );
    Ok(())
}
