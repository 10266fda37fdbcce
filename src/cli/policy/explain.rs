//! `amtpd policy explain`: which rule decides about a message, and why.

use std::fmt::Write as _;

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::super::client::print_json;
use super::super::show;
use super::Files;
use crate::config::{DeliveryPath, Size};
use crate::policy::{
    Action, CertificateStanding, Direction, Directions, Explanation, Limit, PayloadStanding,
    Question, RuleRef, SenderStanding, SignatureStanding, Standing, Verdict,
};
use crate::protocol::{Address, Domain, SchemaId};

/// Show which rule decides about a message, and why
#[derive(Debug, Args)]
pub(super) struct ExplainCommand {
    /// Who writes
    #[arg(long, value_name = "ADDRESS")]
    sender: Address,
    /// To whom
    #[arg(long, value_name = "ADDRESS")]
    recipient: Address,
    /// The schema of the payload
    #[arg(long, value_name = "ID")]
    schema: Option<SchemaId>,
    /// The way it goes [default: as the addresses and the domains of the gateway say, else inbound]
    #[arg(long, value_enum)]
    direction: Vec<Way>,
    /// The size of the message
    #[arg(long, value_name = "SIZE", default_value = "1KiB", value_parser = size)]
    size: usize,
    #[command(flatten)]
    known: Known,
    #[command(flatten)]
    files: Files,
    /// Show each earlier rule, and why it does not match
    #[arg(long, short)]
    verbose: bool,
    /// Print JSON for programs
    #[arg(long)]
    json: bool,
}

/// What is known of the message. A sender in a domain of the gateway is taken as one of its agents.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "switches of a command line")]
struct Known {
    /// The sender is verified
    #[arg(long)]
    verified: bool,
    /// The message comes from an address of the sender's gateway
    #[arg(long)]
    trusted: bool,
    /// It has a valid domain signature, which verifies its sender
    #[arg(long)]
    signed: bool,
    /// It has a domain signature that is not valid
    #[arg(long, conflicts_with_all = ["signed", "verified"])]
    forged: bool,
    /// It came with the sender's TLS client certificate, which verifies its sender
    #[arg(long)]
    client_cert: bool,
    /// Its payload is encrypted
    #[arg(long)]
    encrypted: bool,
}

/// A direction, as it is written in rules.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Way {
    Submission,
    Inbound,
    Outbound,
    BridgeIn,
    BridgeOut,
    Subscribe,
    Broadcast,
}

impl From<Way> for Direction {
    fn from(way: Way) -> Self {
        match way {
            Way::Submission => Self::Submission,
            Way::Inbound => Self::Inbound,
            Way::Outbound => Self::Outbound,
            Way::BridgeIn => Self::BridgeIn,
            Way::BridgeOut => Self::BridgeOut,
            Way::Subscribe => Self::Subscribe,
            Way::Broadcast => Self::Broadcast,
        }
    }
}

fn size(text: &str) -> Result<usize, String> {
    let Size(bytes) = text
        .parse()
        .map_err(|_| "no size, such as 64KiB".to_owned())?;
    usize::try_from(bytes).map_err(|_| "too much".to_owned())
}

impl Known {
    fn standing(&self, is_ours: bool) -> Standing {
        let sender = match () {
            () if is_ours => SenderStanding::Local,
            () if self.verified || self.signed || self.client_cert => SenderStanding::Verified,
            () if self.trusted => SenderStanding::SourceAddress,
            () => SenderStanding::Unverified,
        };
        let signature = match () {
            () if self.signed => SignatureStanding::Valid,
            () if self.forged => SignatureStanding::Invalid,
            () => SignatureStanding::Absent,
        };
        let certificate = match self.client_cert {
            true => CertificateStanding::Valid,
            false => CertificateStanding::Absent,
        };
        let payload = match self.encrypted {
            true => PayloadStanding::Encrypted,
            false => PayloadStanding::Plain,
        };
        Standing {
            sender,
            signature,
            certificate,
            payload,
        }
    }
}

impl ExplainCommand {
    pub(super) fn run(self) -> Result<()> {
        let (verbose, json) = (self.verbose, self.json);
        let (directions, explanation) = self.explain()?;
        if json {
            return print_json(&in_json(directions, &explanation));
        }
        show(&in_words(directions, &explanation, verbose))
    }

    fn explain(self) -> Result<(Directions, Explanation)> {
        let policy = self.files.read()?;
        let set = policy.set?;
        let is_ours = |address: &Address| policy.domains.contains(address.domain());
        let ours = is_ours(&self.sender);
        let given = self
            .direction
            .iter()
            .map(|way| Direction::from(*way).into());
        let directions = given
            .reduce(|one: Directions, other| one | other)
            .unwrap_or_else(|| usual(ours, self.recipient.domain(), &policy.domains));
        let explanation = set.explain(&Question {
            directions,
            sender: &self.sender,
            recipient: &self.recipient,
            schema: self.schema.as_ref(),
            size: self.size,
            standing: self.known.standing(ours),
        });
        Ok((directions, explanation))
    }
}

/// The way a message goes by its addresses.
fn usual(from_us: bool, recipient: &Domain, domains: &[Domain]) -> Directions {
    match (from_us, domains.contains(recipient)) {
        (true, true) => Direction::Submission.into(),
        (true, false) => Direction::Submission | Direction::Outbound,
        (false, _) => Direction::Inbound.into(),
    }
}

fn in_words(directions: Directions, explanation: &Explanation, verbose: bool) -> String {
    let mut text = String::new();
    if verbose {
        for (rule, why) in &explanation.passed {
            let _ = writeln!(text, "no match: {rule}: {why}");
        }
    }
    let verdict = &explanation.verdict;
    let _ = writeln!(text, "{}: {}", outcome(verdict), verdict.rule);
    let _ = writeln!(text, "  because {}", verdict.because);
    if let Some(reason) = verdict.rule.place().and_then(|it| it.reason.as_ref()) {
        let _ = writeln!(text, "  reason: {reason}");
    }
    let _ = writeln!(text, "  direction: {directions}");
    if verdict.action != Action::Deny {
        for (name, value) in settings(verdict) {
            let _ = writeln!(text, "  {name}: {value}");
        }
    }
    if !verbose && !explanation.passed.is_empty() {
        let passed = explanation.passed.len();
        let rules = if passed == 1 { "rule" } else { "rules" };
        let _ = writeln!(
            text,
            "  {passed} earlier {rules} did not match; see --verbose"
        );
    }
    text
}

fn outcome(verdict: &Verdict) -> String {
    match verdict.refusal {
        Some(code) => format!("{} ({code})", verdict.action.as_str()),
        None => verdict.action.as_str().to_owned(),
    }
}

/// What the rule says of a message that passes.
fn settings(verdict: &Verdict) -> Vec<(&'static str, String)> {
    let path = verdict.path.map(|path| match path {
        DeliveryPath::Durable => "durable",
        DeliveryPath::Immediate => "immediate",
    });
    let words = [
        ("path", path),
        ("priority", verdict.priority.map(|it| it.as_str())),
        ("ordering", verdict.ordering.map(|it| it.as_str())),
        ("signature_policy", Some(verdict.signature.as_str())),
    ];
    let words = words
        .into_iter()
        .filter_map(|(name, word)| Some((name, word?.to_owned())));
    words
        .chain(verdict.limit.iter().flat_map(|limit| limits(limit)))
        .collect()
}

fn limits(limit: &Limit) -> Vec<(&'static str, String)> {
    let mut texts = Vec::new();
    if let Some(rate) = limit.rate {
        let (count, seconds) = (rate.count, rate.period.as_secs());
        let text = format!("{count} in {seconds}s by sender, {} at once", rate.burst);
        texts.push(("rate_limit", text));
    }
    if let Some(messages) = limit.messages {
        texts.push(("quota", format!("{messages} messages a day by sender")));
    }
    if let Some(kibibytes) = limit.kibibytes {
        let bytes = Size(u64::from(kibibytes.get()) * 1_024);
        texts.push(("quota", format!("{bytes} a day by sender")));
    }
    texts
}

fn in_json(directions: Directions, explanation: &Explanation) -> Value {
    let verdict = &explanation.verdict;
    let passed: Vec<Value> = explanation
        .passed
        .iter()
        .map(|(rule, why)| json!({ "rule": rule_json(rule), "because": why.to_string() }))
        .collect();
    let settings: serde_json::Map<String, Value> = settings(verdict)
        .into_iter()
        .map(|(name, text)| (name.to_owned(), text.into()))
        .collect();
    let ways: Vec<&str> = directions.iter().map(Direction::as_str).collect();
    json!({
        "action": verdict.action.as_str(),
        "error_code": verdict.refusal.map(|code| code.as_str()),
        "because": verdict.because.to_string(),
        "rule": rule_json(&verdict.rule),
        "directions": ways,
        "settings": settings,
        "passed": passed,
    })
}

fn rule_json(rule: &RuleRef) -> Value {
    let kind = match rule {
        RuleRef::Rule(_) => "rule",
        RuleRef::Restricted(_) => "restricted",
        RuleRef::Default => return json!({ "kind": "default" }),
    };
    let place = rule.place().expect("what is no default stands somewhere");
    json!({
        "kind": kind,
        "name": place.name,
        "file": place.file.display().to_string(),
        "line": place.line,
        "reason": place.reason,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        explain: ExplainCommand,
    }

    const POLICY: &str = "version: \"1.0\"\ndefault_policy: deny\nrestricted:\n- {recipient_pattern: payroll@example.com, senders: [hr@example.com], reason: money}\nrules:\n- {name: ours, sender_pattern: \"*@example.com\", direction: submission, rate_limit: 100/hour, action: allow}\n- {name: partner, sender_pattern: \"*.b.com\", require: [signed], quota: {bytes: 1MiB}, priority: high, action: allow}\n";

    fn explain(options: &str) -> (Directions, Explanation) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.yaml");
        fs::write(&file, POLICY).unwrap();
        let line = format!("explain {options} --domain example.com {}", file.display());
        let line = Line::try_parse_from(line.split_whitespace()).unwrap();
        line.explain.explain().unwrap()
    }

    #[test]
    fn it_tells_what_decides_and_why() {
        for (options, first, more) in [
            (
                "--sender a@example.com --recipient b@q.com",
                "allow: rule \"ours\" (",
                "rate_limit: 100 in 3600s by sender, 100 at once",
            ),
            (
                "--sender a@example.com --recipient b@q.com",
                "allow",
                "direction: submission, outbound",
            ),
            (
                "--sender a@example.com --recipient b@q.com --direction outbound",
                "deny (POLICY_DENIED): default_policy",
                "2 earlier rules did not match",
            ),
            (
                "--sender a@x.b.com --recipient b@example.com --signed",
                "allow: rule \"partner\" (",
                "quota: 1MiB a day",
            ),
            (
                "--sender a@x.b.com --recipient b@example.com",
                "deny (SIGNATURE_REQUIRED): rule \"partner\"",
                "because it requires `signed`, which is not met",
            ),
            (
                "--sender a@x.b.com --recipient b@example.com --forged",
                "deny (SIGNATURE_INVALID)",
                "direction: inbound",
            ),
            (
                "--sender a@q.com --recipient payroll@example.com",
                "deny (POLICY_DENIED): restricted recipient (",
                "reason: money",
            ),
            (
                "--sender a@q.com --recipient b@example.com",
                "deny (POLICY_DENIED): default_policy",
                "because no rule matches",
            ),
        ] {
            let (directions, explanation) = explain(options);
            let text = in_words(directions, &explanation, false);
            assert!(
                text.starts_with(first) && text.contains(more),
                "{options}: {text}"
            );
        }
    }

    #[test]
    fn on_request_it_tells_why_earlier_rules_do_not_match() {
        let (directions, explanation) = explain("--sender a@q.com --recipient b@example.com");
        let text = in_words(directions, &explanation, true);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].starts_with("no match: rule \"ours\" (")
                && lines[0].ends_with(": another direction"),
            "{text}"
        );
        assert!(lines[1].ends_with(": another sender"), "{text}");
        let json = in_json(directions, &explanation);
        assert_eq!(json["error_code"], "POLICY_DENIED");
        assert_eq!(json["rule"]["kind"], "default");
        assert_eq!(json["passed"][0]["rule"]["name"], "ours");
        assert_eq!(json["passed"][1]["because"], "another sender");
    }
}
