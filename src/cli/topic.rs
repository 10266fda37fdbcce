//! `amtpd topic …`: topics and who gets what is published in them.

use anyhow::Result;
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Map, Value, json};

use super::client::{Gateway, Target, plain, print_json, print_table, segment};

/// Manage topics and their subscribers.
#[derive(Debug, Args)]
pub(super) struct TopicCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a topic; its key, with which it is looked after, is printed once
    Add {
        /// The name, or name@domain
        name: String,
        #[command(flatten)]
        kept: Kept,
        /// A schema it takes, with *; may be repeated
        #[arg(long = "schema", value_name = "PATTERN")]
        schemas: Vec<String>,
        /// A sentence for people
        #[arg(long)]
        description: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// List topics
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Show one topic
    Show {
        /// The name, or name@domain
        name: String,
        #[command(flatten)]
        target: Target,
    },
    /// List who is subscribed
    Subscribers {
        /// The name, or name@domain
        name: String,
        #[command(flatten)]
        target: Target,
    },
    /// Subscribe an address; one of another domain is asked to confirm
    Subscribe {
        /// The name, or name@domain
        name: String,
        /// Who is to get the copies
        address: String,
        #[command(flatten)]
        target: Target,
    },
    /// End a subscription
    Unsubscribe {
        /// The name, or name@domain
        name: String,
        /// The subscription's id, as `topic subscribers` prints it
        id: String,
        #[command(flatten)]
        target: Target,
    },
}

/// What a topic keeps.
#[derive(Debug, Args)]
struct Kept {
    /// Keep the last publication as its value
    #[arg(long)]
    retain: bool,
    /// Keep so many publications for replay
    #[arg(long, value_name = "NUMBER")]
    keep: Option<u64>,
    /// Keep publications for so many seconds
    #[arg(long, value_name = "SECONDS")]
    retention: Option<u64>,
}

impl TopicCommand {
    pub(super) async fn run(self) -> Result<()> {
        match self.what {
            What::Add {
                name,
                kept,
                schemas,
                description,
                target,
            } => add(&target.connect()?, (name, kept), schemas, description).await,
            What::List { target } => list(&target.connect()?).await,
            What::Show { name, target } => show(&target.connect()?, &name).await,
            What::Subscribers { name, target } => subscribers(&target.connect()?, &name).await,
            What::Subscribe {
                name,
                address,
                target,
            } => subscribe(&target.connect()?, &name, &address).await,
            What::Unsubscribe { name, id, target } => {
                unsubscribe(&target.connect()?, &name, &id).await
            }
        }
    }
}

fn subscriptions(name: &str) -> String {
    format!("/v1/admin/topics/{}/subscriptions", segment(name))
}

async fn add(
    gateway: &Gateway,
    (name, kept): (String, Kept),
    schemas: Vec<String>,
    description: Option<String>,
) -> Result<()> {
    let mut settings = Map::new();
    settings.insert("retain".to_owned(), Value::from(kept.retain));
    for (member, value) in [("keep", kept.keep), ("retention_seconds", kept.retention)] {
        if let Some(value) = value {
            settings.insert(member.to_owned(), Value::from(value));
        }
    }
    let mut form = json!({ "address": name, "topic": settings });
    if !schemas.is_empty() {
        form["supported_schemas"] = json!(schemas);
    }
    if let Some(description) = description {
        form["description"] = Value::from(description);
    }
    let answer = gateway
        .call(Method::POST, "/v1/topics", Some(&form))
        .await?;
    if gateway.json {
        return print_json(&answer);
    }
    println!(
        "Made {}. Its key, shown only now:\n\n  {}\n",
        plain(&answer["agent"]["address"]),
        plain(&answer["agent"]["api_key"])
    );
    Ok(())
}

/// All items of a list that comes in pages.
async fn pages(gateway: &Gateway, path: &str, member: &str) -> Result<Vec<Value>> {
    let mut items = Vec::new();
    let mut cursor = String::new();
    loop {
        let place = format!("{path}?limit=1000&cursor={cursor}");
        let mut page = gateway.call(Method::GET, &place, None).await?;
        if let Some(found) = page[member].as_array_mut() {
            items.append(found);
        }
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => return Ok(items),
        }
    }
}

async fn list(gateway: &Gateway) -> Result<()> {
    let topics = pages(gateway, "/v1/topics", "topics").await?;
    if gateway.json {
        return print_json(&json!({ "topics": topics }));
    }
    if topics.is_empty() {
        println!("No topics. Make one with `amtpd topic add NAME`.");
        return Ok(());
    }
    print_table(
        &topics,
        &[
            ("address", "address"),
            ("subscribers", "subscribers"),
            ("version", "version"),
            ("published", "published_at"),
            ("value", "retain"),
            ("description", "description"),
        ],
    );
    Ok(())
}

async fn show(gateway: &Gateway, name: &str) -> Result<()> {
    let path = format!("/v1/topics/{}", segment(name));
    let answer = gateway.call(Method::GET, &path, None).await?;
    if gateway.json {
        return print_json(&answer);
    }
    for (member, value) in answer["topic"].as_object().into_iter().flatten() {
        println!("{member:18} {}", plain(value));
    }
    Ok(())
}

async fn subscribers(gateway: &Gateway, name: &str) -> Result<()> {
    let found = pages(gateway, &subscriptions(name), "subscriptions").await?;
    if gateway.json {
        return print_json(&json!({ "subscriptions": found }));
    }
    if found.is_empty() {
        println!("Nobody is subscribed.");
        return Ok(());
    }
    print_table(
        &found,
        &[
            ("subscription", "id"),
            ("subscriber", "subscriber"),
            ("state", "state"),
            ("failures", "failures"),
            ("since", "created_at"),
        ],
    );
    Ok(())
}

async fn subscribe(gateway: &Gateway, name: &str, address: &str) -> Result<()> {
    let form = json!({ "subscriber": address });
    let answer = gateway
        .call(Method::POST, &subscriptions(name), Some(&form))
        .await?;
    if gateway.json {
        return print_json(&answer);
    }
    let made = &answer["subscription"];
    match made["state"].as_str() {
        Some("pending") => println!(
            "{} was asked to confirm; the subscription begins when it does.",
            plain(&made["subscriber"])
        ),
        _ => println!("{} is subscribed.", plain(&made["subscriber"])),
    }
    Ok(())
}

async fn unsubscribe(gateway: &Gateway, name: &str, id: &str) -> Result<()> {
    let path = format!("{}/{}", subscriptions(name), segment(id));
    gateway.call(Method::DELETE, &path, None).await?;
    if gateway.json {
        return print_json(&json!({ "removed": id }));
    }
    println!("Subscription {id} has ended.");
    Ok(())
}
