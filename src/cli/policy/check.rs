//! `amtpd policy check`: every fault of policy files, and every rule that never decides.

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::super::{FAILED, Reported, show};
use super::{Files, Policy};
use crate::config::{Fault, Place};
use crate::policy::{Idle, PolicySet, RuleRef};

/// Check policy files: every fault with its line, and rules that never decide; exit code 1 says there are faults
#[derive(Debug, Args)]
pub(super) struct CheckCommand {
    #[command(flatten)]
    files: Files,
    /// Print JSON for programs
    #[arg(long)]
    json: bool,
}

impl CheckCommand {
    pub(super) fn run(self) -> Result<()> {
        let report = Report::of(&self.files.read()?);
        show(&if self.json {
            serde_json::to_string_pretty(&report)? + "\n"
        } else {
            report.text()
        })?;
        match report.valid {
            true => Ok(()),
            false => Err(Reported(FAILED).into()),
        }
    }
}

/// What the check found.
#[derive(Debug, Serialize)]
struct Report {
    valid: bool,
    files: usize,
    rules: usize,
    faults: Vec<Fault>,
    /// Faults beyond those told.
    #[serde(skip_serializing_if = "is_zero")]
    untold: usize,
    warnings: Vec<Fault>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
const fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Report {
    fn of(policy: &Policy) -> Self {
        let (rules, warnings) = policy
            .set
            .as_ref()
            .map_or((0, Vec::new()), |set| (set.len(), warnings_of(set)));
        let faults = policy.set.as_ref().err();
        Self {
            valid: faults.is_none(),
            files: policy.files,
            rules,
            faults: faults.map_or(Vec::new(), |faults| faults.faults().to_vec()),
            untold: faults.map_or(0, |faults| faults.untold()),
            warnings,
        }
    }

    fn text(&self) -> String {
        let faults = self.faults.iter().map(|fault| format!("{fault}\n"));
        let warnings = self
            .warnings
            .iter()
            .map(|warning| format!("warning: {warning}\n"));
        let mut text: String = faults.chain(warnings).collect();
        if self.untold > 0 {
            text += &format!("and {} more faults\n", self.untold);
        }
        let faults = counted(self.faults.len() + self.untold, "fault");
        let warnings = counted(self.warnings.len(), "warning");
        text += &match self.valid {
            true => {
                let (rules, files) = (counted(self.rules, "rule"), counted(self.files, "file"));
                format!("The policy is valid: {rules} in {files}")
            }
            false => "The policy cannot be used".to_owned(),
        };
        text + &format!("; {faults}, {warnings}.\n")
    }
}

fn counted(number: usize, word: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {word}{plural}")
}

fn warnings_of(set: &PolicySet) -> Vec<Fault> {
    let idle = set.idle_rules();
    idle.iter()
        .map(|(rule, idle)| warning(rule, idle))
        .collect()
}

fn warning(rule: &RuleRef, idle: &Idle) -> Fault {
    let place = rule.place().expect("an idle rule stands somewhere");
    let key = match &place.name {
        Some(name) => format!("rule \"{name}\""),
        None => "rule".to_owned(),
    };
    Fault {
        place: Place::File {
            file: place.file.clone(),
            line: Some(place.line),
            column: None,
        },
        key,
        text: idle.text(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn report(text: &str) -> (tempfile::TempDir, Report) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("p.yaml"), text).unwrap();
        let files = Files {
            files: vec![folder.path().to_owned()],
            config: None,
            domains: Vec::new(),
        };
        let report = Report::of(&files.read().unwrap());
        (folder, report)
    }

    #[test]
    fn faults_are_told_with_file_line_and_column() {
        let (folder, report) = report("version: \"1.0\"\ndefault_policy: dney\n");
        let text = report.text();
        let line = format!(
            "{}/p.yaml:2:17: default_policy: \"dney\" is not one of `deny`, `allow`; did you mean `deny`?\n",
            folder.path().display()
        );
        assert!(text.starts_with(&line), "{text}");
        assert!(
            text.ends_with("The policy cannot be used; 1 fault, 0 warnings.\n"),
            "{text}"
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["valid"], false);
        assert_eq!(
            (&json["faults"][0]["line"], &json["faults"][0]["column"]),
            (&2.into(), &17.into())
        );
    }

    #[test]
    fn rules_that_never_decide_are_warnings() {
        let (_folder, report) = report(
            "version: \"1.0\"\ndefault_policy: deny\nrules:\n- {name: all, action: allow}\n- {name: late, action: deny}\n",
        );
        assert!(report.valid);
        let text = report.text();
        assert!(
            text.contains("p.yaml:5: rule \"late\": is shadowed by the rule \"all\" ("),
            "{text}"
        );
        assert!(
            text.ends_with("The policy is valid: 2 rules in 1 file; 0 faults, 1 warning.\n"),
            "{text}"
        );
    }

    #[test]
    fn somebody_must_say_which_files() {
        let files = Files {
            files: Vec::new(),
            config: None,
            domains: Vec::new(),
        };
        assert!(files.read().is_err());
    }

    #[test]
    fn a_file_that_is_not_there_is_a_fault() {
        let files = Files {
            files: vec!["/nowhere/p.yaml".into()],
            config: None,
            domains: Vec::new(),
        };
        let report = Report::of(&files.read().unwrap());
        assert!(
            report.text().starts_with("/nowhere/p.yaml: cannot be read"),
            "{}",
            report.text()
        );
    }
}
