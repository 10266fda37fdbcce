//! Gateway to gateway where each message is signed, verified and judged, beside the same without.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::between::{ALPHA, Variables, Way};
use crate::bench::{Bench, Run};
use crate::daemon::run;
use crate::names::Names;
use crate::report::{Detail, Figure, Goal, Pair, median, progress};

const NAME: &str = "judged";
const SCHEMA: &str = "agntcy:load.message.v1";
/// Rules of the policy; the last one is about the messages.
const RULES: usize = 1_000;

/// What the gateways of both sides are told.
struct Setting {
    folder: TempDir,
    names: Names,
}

impl Setting {
    async fn new(bench: &Bench) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let record = key(bench, &folder.path().join("k1.key"))?;
        let names = Names::start(&format!("k1._amtpkey.{ALPHA}"), &record).await?;
        fs::create_dir(folder.path().join("policies"))?;
        fs::write(folder.path().join("policies/rules.yaml"), policy()?)?;
        fs::create_dir(folder.path().join("schemas"))?;
        fs::write(
            folder.path().join("schemas/message.json"),
            schema().to_string(),
        )?;
        Ok(Self { folder, names })
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Without signatures, rules and schemas.
    fn plain(&self) -> Variables {
        let servers = json!([self.names.address().to_string()]).to_string();
        vec![("AMTPD__DNS__SERVERS", servers)]
    }

    fn signing(&self) -> Variables {
        let mut variables = self.plain();
        variables.push(("AMTPD__SIGNING__SELECTOR", "k1".to_owned()));
        variables.push(("AMTPD__SIGNING__KEY_FILE", self.file("k1.key")));
        variables
    }

    fn judging(&self) -> Variables {
        let mut variables = self.plain();
        variables.push(("AMTPD__POLICIES__DIR", self.file("policies")));
        variables.push(("AMTPD__SCHEMAS__DIR", self.file("schemas")));
        variables
    }
}

/// Makes a key in this file and gives its record.
fn key(bench: &Bench, file: &Path) -> Result<String> {
    let said = run(Command::new(&bench.binary)
        .args(["key", "generate", "--json", "--selector", "k1", "--out"])
        .arg(file))?;
    let said: Value = serde_json::from_slice(&said)?;
    let record = said["records"][0]["strings"][0].as_str();
    Ok(record.context("the key has no record")?.to_owned())
}

/// Nothing passes but signed messages of this schema, by the last rule.
fn policy() -> Result<String> {
    let mut text = "version: \"1.0\"\ndefault_policy: deny\nrules:\n".to_owned();
    for number in 1..RULES {
        writeln!(
            text,
            "  - {{sender_pattern: \"*@d{number}.test\", action: allow}}"
        )?;
    }
    writeln!(
        text,
        "  - {{sender_pattern: \"*@{ALPHA}\", direction: inbound, schemas: [\"{SCHEMA}\"], \
         require: [signed], action: allow}}"
    )?;
    Ok(text)
}

fn schema() -> Value {
    json!({
        "$id": SCHEMA,
        "type": "object",
        "required": ["mark", "text"],
        "additionalProperties": false,
        "properties": {
            "mark": { "type": "string", "pattern": "^[0-9]{3}-[0-9]{5}-[0-9]{9}$" },
            "text": { "type": "string", "maxLength": 1_000_000 },
        },
    })
}

/// A run of both, and the processor time of the second gateway for each message.
struct Both {
    judged: (Run, f64),
    plain: (Run, f64),
}

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let setting = Setting::new(bench).await?;
    let mut plain = Way::start(bench, true, [setting.plain(), setting.plain()]).await?;
    let mut judged = Way::start(bench, true, [setting.signing(), setting.judging()]).await?;
    let mut pairs = Vec::new();
    for number in 0..bench.pairs() {
        let plain = once(&mut plain).await?;
        let judged = once(&mut judged).await?;
        let rates = format!(
            "as it comes {:.0}/s, signed and judged {:.0}/s",
            plain.0.measured.rate, judged.0.measured.rate
        );
        bench.progress(NAME, number, &rates);
        pairs.push(Both { judged, plain });
    }
    progress(NAME, "reading all inboxes");
    plain.finish().await?;
    judged.finish().await?;
    Ok(vec![figure(&pairs)])
}

async fn once(way: &mut Way) -> Result<(Run, f64)> {
    way.shape.schema = Some(SCHEMA);
    let second = way.beta.process()?;
    let before = second.usage()?;
    let run = way.run().await?;
    let second = second.usage()?.since(before);
    let cost = second.cpu_us(run.measured.answered);
    Ok((run, cost))
}

fn figure(pairs: &[Both]) -> Figure {
    let rates = pairs
        .iter()
        .map(|it| Pair::new(it.judged.0.measured.rate, it.plain.0.measured.rate));
    let title = format!("gateway to gateway, signed (ES256), {RULES} rules, a schema");
    let mut figure = Figure::new(NAME, &title, rates.collect()).goal(Goal::AtLeast(0.75));
    figure.beside = "the same without";
    let detail = |name, text, of: fn(&(Run, f64)) -> f64| {
        let judged = median(pairs.iter().map(|it| of(&it.judged)));
        let plain = median(pairs.iter().map(|it| of(&it.plain)));
        Detail::new(name, text, "us", judged.unwrap_or_default()).beside(plain.unwrap_or_default())
    };
    figure.details.push(detail(
        "second_cpu_us",
        "processor time, second gateway",
        |it| it.1,
    ));
    figure.details.push(detail(
        "server_cpu_us",
        "processor time, both gateways",
        |it| it.0.server_us,
    ));
    figure
}
