//! `amtpd schema …`: the registry of schemas, and files before they get there.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use clap::{Args, Subcommand, ValueEnum};
use hyper::Method;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::client::{Gateway, Target, plain, print_json, print_table, segment, with_query};
use super::{FAILED, Reported, selection};
use crate::schema::{self, Break, Document, MOST_BYTES, Mode, SchemaFault, compare};

const PATH: &str = "/v1/admin/schemas";

/// Manage the schemas that payloads are checked against.
#[derive(Debug, Args)]
pub(super) struct SchemaCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Store a schema as the newest revision of its identifier
    Add {
        /// The file of the schema
        file: PathBuf,
        /// Its identifier; what the schema calls itself where it is not given
        #[arg(long)]
        id: Option<String>,
        /// What the revision is good for
        #[arg(long, value_enum, default_value_t = State::Required)]
        state: State,
        /// How it must go with the version before
        #[arg(long, value_enum, default_value_t = Way::Backward, value_name = "WAY")]
        compatibility: Way,
        /// Store it though it does not go with the version before
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        target: Target,
    },
    /// List schemas
    List {
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        target: Target,
    },
    /// Show a schema
    Show {
        /// Its identifier
        id: String,
        /// Which revision, 0 for the file of the gateway; the newest where it is not given
        #[arg(long)]
        revision: Option<u64>,
        #[command(flatten)]
        target: Target,
    },
    /// Set what the newest revision of a schema is good for
    State {
        /// Its identifier
        id: String,
        /// What it is good for
        #[arg(value_enum)]
        state: State,
        /// Another revision than the newest
        #[arg(long)]
        revision: Option<u64>,
        #[command(flatten)]
        target: Target,
    },
    /// Remove a schema from the store
    Remove {
        /// Its identifier
        id: String,
        /// Only this revision
        #[arg(long)]
        revision: Option<u64>,
        #[command(flatten)]
        target: Target,
    },
    /// Check a schema, and payloads against it; exit code 1 says there are faults
    Validate {
        /// The file of a schema, or with --id the identifier of one that the gateway knows
        schema: String,
        /// Files of payloads
        payloads: Vec<PathBuf>,
        /// Ask the gateway
        #[arg(long)]
        id: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Check that a new version goes with the old one; exit code 1 says that it does not
    Compat {
        /// The file of the old version
        old: PathBuf,
        /// The file of the new version
        new: PathBuf,
        /// Which way they must go together
        #[arg(long, value_enum, default_value_t = Way::Backward, value_name = "WAY")]
        mode: Way,
        /// Print JSON for programs
        #[arg(long, help_heading = "Output")]
        json: bool,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    /// Kept, and used for nothing
    Draft,
    /// Payloads are checked; faults are recorded and refuse nothing
    Accepted,
    /// Payloads with faults are refused
    Required,
    /// No longer used
    Retired,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Way {
    /// New readers understand old writers
    Backward,
    /// Old readers understand new writers
    Forward,
    /// Both
    Full,
}

impl Way {
    const fn mode(self) -> Mode {
        match self {
            Self::Backward => Mode::Backward,
            Self::Forward => Mode::Forward,
            Self::Full => Mode::Full,
        }
    }
}

/// The word of an option's value.
fn word(value: impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |it| it.get_name().to_owned())
}

impl SchemaCommand {
    pub(super) async fn run(self) -> Result<()> {
        match self.what {
            What::Add {
                file,
                id,
                state,
                compatibility,
                force,
                target,
            } => {
                let document = RawValue::from_string(text(&file)?)
                    .with_context(|| format!("{} is no JSON", file.display()))?;
                let form = Form {
                    id,
                    document: &document,
                    state: word(state),
                    compatibility: word(compatibility),
                    force,
                };
                add(&target.connect()?, &form).await
            }
            What::List { limit, target } => list(&target.connect()?, limit).await,
            What::Show {
                id,
                revision,
                target,
            } => show(&target.connect()?, &place(&id, revision)).await,
            What::State {
                id,
                state,
                revision,
                target,
            } => {
                let form = json!({ "state": word(state), "revision": revision });
                set(&target.connect()?, &place(&id, None), &form).await
            }
            What::Remove {
                id,
                revision,
                target,
            } => remove(&target.connect()?, &place(&id, revision), &id).await,
            What::Validate {
                schema,
                payloads,
                id: true,
                target,
            } => validate_there(&target.connect()?, &schema, &payloads).await,
            What::Validate {
                schema,
                payloads,
                target,
                ..
            } => validate_here(Path::new(&schema), &payloads, target.json),
            What::Compat {
                old,
                new,
                mode,
                json,
            } => compat((&old, &new), mode.mode(), json),
        }
    }
}

fn place(id: &str, revision: Option<u64>) -> String {
    let revision = revision.map(|number| number.to_string());
    let path = format!("{PATH}/{}", segment(id));
    with_query(&path, &[("revision", revision.as_deref())])
}

fn text(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("{}", file.display()))
}

/// The document keeps its text.
#[derive(serde::Serialize)]
struct Form<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    document: &'a RawValue,
    state: String,
    compatibility: String,
    force: bool,
}

async fn add(gateway: &Gateway, form: &Form<'_>) -> Result<()> {
    let answer = gateway.submit(PATH, form).await?;
    if gateway.json {
        return print_json(&answer);
    }
    let schema = &answer["schema"];
    let (id, revision) = (plain(&schema["id"]), plain(&schema["revision"]));
    println!(
        "Stored {id}, revision {revision}: {}.",
        plain(&schema["state"])
    );
    Ok(())
}

async fn list(gateway: &Gateway, limit: usize) -> Result<()> {
    let (rows, more) = selection::list(gateway, (PATH, "schemas"), &[], limit).await?;
    if gateway.json {
        return print_json(&json!({ "schemas": rows, "more": more }));
    }
    if rows.is_empty() {
        println!("No schemas.");
        return Ok(());
    }
    let columns = ["id", "revision", "state", "source", "changed_at"].map(|name| (name, name));
    print_table(&rows, &columns);
    if more {
        println!("There are more: --limit takes a larger number.");
    }
    Ok(())
}

async fn show(gateway: &Gateway, path: &str) -> Result<()> {
    let answer = gateway.call(Method::GET, path, None).await?;
    if gateway.json {
        return print_json(&answer);
    }
    let schema = &answer["schema"];
    for member in [
        "id",
        "revision",
        "state",
        "source",
        "sha256",
        "changed_at",
        "changed_by",
    ] {
        println!("{member}: {}", plain(&schema[member]));
    }
    print_json(&schema["document"])
}

async fn set(gateway: &Gateway, path: &str, form: &Value) -> Result<()> {
    let answer = gateway.call(Method::PATCH, path, Some(form)).await?;
    if gateway.json {
        return print_json(&answer);
    }
    let schema = &answer["schema"];
    let (id, revision) = (plain(&schema["id"]), plain(&schema["revision"]));
    println!(
        "{id}, revision {revision} is {} now.",
        plain(&schema["state"])
    );
    Ok(())
}

async fn remove(gateway: &Gateway, path: &str, id: &str) -> Result<()> {
    gateway.call(Method::DELETE, path, None).await?;
    if gateway.json {
        return print_json(&json!({ "removed": id }));
    }
    println!("Removed {}.", plain(&Value::from(id)));
    Ok(())
}

async fn validate_there(gateway: &Gateway, id: &str, payloads: &[PathBuf]) -> Result<()> {
    let path = format!("{PATH}/{}/validate", segment(id));
    let mut found = Vec::new();
    for file in payloads {
        let payload: Value = serde_json::from_str(&text(file)?)
            .with_context(|| format!("{} is no JSON", file.display()))?;
        let form = json!({ "payload": payload });
        let answer = gateway.call(Method::POST, &path, Some(&form)).await?;
        let faults = answer["validation_errors"].as_array().cloned();
        found.push((file.clone(), faults.unwrap_or_default()));
    }
    tell(&found, gateway.json)
}

fn validate_here(schema: &Path, payloads: &[PathBuf], json: bool) -> Result<()> {
    let document = document(schema)?;
    let fault = |fault| anyhow!("{}: {fault}", schema.display());
    // Without payloads only the schema itself is checked.
    schema::check(&document, "null").map_err(fault)?;
    let mut found = Vec::new();
    for file in payloads {
        let faults = schema::check(&document, &text(file)?).map_err(fault)?;
        let faults = faults.iter().map(|fault: &SchemaFault| json!(fault));
        found.push((file.clone(), faults.collect()));
    }
    tell(&found, json)
}

fn document(file: &Path) -> Result<Document> {
    let size = std::fs::metadata(file).with_context(|| format!("{}", file.display()))?;
    let most = MOST_BYTES as u64;
    anyhow::ensure!(
        size.len() <= most,
        "{}: has more than {most} bytes",
        file.display()
    );
    Document::read(text(file)?.as_bytes()).map_err(|fault| anyhow!("{}: {fault}", file.display()))
}

fn tell(found: &[(PathBuf, Vec<Value>)], json: bool) -> Result<()> {
    if json {
        let files = found.iter().map(|(file, faults)| {
            json!({ "file": file, "valid": faults.is_empty(), "validation_errors": faults })
        });
        print_json(&json!({ "payloads": files.collect::<Vec<_>>() }))?;
    } else {
        for (file, faults) in found {
            let verdict = if faults.is_empty() {
                "fits"
            } else {
                "does not fit"
            };
            println!("{} {verdict}.", file.display());
            faults.iter().for_each(print_fault);
        }
        if found.is_empty() {
            println!("The schema can be used.");
        }
    }
    outcome(found.iter().all(|(_, faults)| faults.is_empty()))
}

fn print_fault(fault: &Value) {
    let path = match fault["field"].as_str() {
        None | Some("") => "the payload".to_owned(),
        Some(_) => plain(&fault["field"]),
    };
    println!("  {path}: {}", plain(&fault["error"]));
}

fn compat((old, new): (&Path, &Path), mode: Mode, json: bool) -> Result<()> {
    let (one, other) = (document(old)?, document(new)?);
    for (file, document) in [(old, &one), (new, &other)] {
        schema::check(document, "null").map_err(|fault| anyhow!("{}: {fault}", file.display()))?;
    }
    let breaks: Vec<Break> = compare(&one.value, &other.value, mode);
    if json {
        print_json(&json!({ "compatible": breaks.is_empty(), "validation_errors": breaks }))?;
    } else if breaks.is_empty() {
        println!("They go together.");
    } else {
        println!("They do not go together.");
        breaks.iter().for_each(|it| print_fault(&json!(it)));
    }
    outcome(breaks.is_empty())
}

fn outcome(good: bool) -> Result<()> {
    match good {
        true => Ok(()),
        false => Err(Reported(FAILED).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<()>) -> Option<u8> {
        result.err().map(|error| super::super::code_of(&error))
    }

    #[test]
    fn files_are_checked_without_a_gateway() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = folder.path().join(name);
            std::fs::write(&file, text).unwrap();
            file
        };
        let old = write("old.json", r#"{"type":"object"}"#);
        let new = write("new.json", r#"{"type":"object","required":["a"]}"#);
        let broken = write("broken.json", r#"{"type":"objekt"}"#);
        let remote = write("remote.json", r#"{"$ref":"https://x.test/"}"#);
        let (empty, full) = (write("p1.json", "{}"), write("p2.json", r#"{"a":1}"#));
        for json in [false, true] {
            let validate = |schema: &Path, files: &[&PathBuf]| {
                let files: Vec<PathBuf> = files.iter().map(|file| (*file).clone()).collect();
                code(validate_here(schema, &files, json))
            };
            assert_eq!(validate(&new, &[]), None);
            assert_eq!(validate(&new, &[&full]), None);
            assert_eq!(validate(&new, &[&full, &empty]), Some(1));
            assert_eq!(validate(&broken, &[]), Some(1));
            assert_eq!(validate(&remote, &[]), Some(1));
            assert_eq!(validate(&folder.path().join("none.json"), &[]), Some(1));
            let compat = |old: &Path, new: &Path, mode| code(compat((old, new), mode, json));
            assert_eq!(compat(&old, &new, Mode::Backward), Some(1));
            assert_eq!(compat(&old, &new, Mode::Forward), None);
            assert_eq!(compat(&old, &broken, Mode::Full), Some(1));
        }
    }

    #[test]
    fn an_identifier_cannot_leave_its_place_in_the_path() {
        assert_eq!(place("a/b", Some(2)), "/v1/admin/schemas/a%2Fb?revision=2");
        assert_eq!(
            place("agntcy:a.b.v1", None),
            "/v1/admin/schemas/agntcy:a.b.v1"
        );
    }
}
