//! What a look at a domain came to, line by line.
//!
//! What others wrote is fit for a terminal here: bounded, without control characters.

use std::fmt::Write as _;

use anyhow::Result;
use serde::Serialize;

/// Characters of one text that are shown.
const MOST_SHOWN: usize = 400;
/// Lines that are kept.
const MOST_CHECKS: usize = 400;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Grade {
    /// As it should be.
    Ok,
    /// It works, but deserves a look.
    Warning,
    /// It keeps mail away.
    Fault,
    /// Not looked at.
    Skipped,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) result: Grade,
    pub(super) text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<String>,
}

impl Check {
    pub(super) fn ok(name: &'static str, text: impl AsRef<str>) -> Self {
        Self::new(name, Grade::Ok, text.as_ref(), None)
    }

    pub(super) fn skipped(name: &'static str, text: impl AsRef<str>) -> Self {
        Self::new(name, Grade::Skipped, text.as_ref(), None)
    }

    pub(super) fn warning(name: &'static str, text: impl AsRef<str>, fix: impl AsRef<str>) -> Self {
        Self::new(name, Grade::Warning, text.as_ref(), Some(fix.as_ref()))
    }

    pub(super) fn fault(name: &'static str, text: impl AsRef<str>, fix: impl AsRef<str>) -> Self {
        Self::new(name, Grade::Fault, text.as_ref(), Some(fix.as_ref()))
    }

    fn new(name: &'static str, result: Grade, text: &str, fix: Option<&str>) -> Self {
        Self {
            name,
            result,
            text: shown(text),
            fix: fix.map(shown),
        }
    }
}

/// Bounded, and without what moves a terminal's cursor or turns its direction.
pub(super) fn shown(text: &str) -> String {
    let mut start: String = text.chars().take(MOST_SHOWN).map(visible).collect();
    if start.len() < text.len() && text.chars().nth(MOST_SHOWN).is_some() {
        start.push('…');
    }
    start
}

fn visible(c: char) -> char {
    let hidden = c.is_control() || (!c.is_ascii() && c.escape_debug().count() > 1);
    if hidden { '\u{fffd}' } else { c }
}

/// Everything that was looked at, in the order it was.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    domain: String,
    checks: Vec<Check>,
}

impl Report {
    pub(super) fn of(domain: &str) -> Self {
        Self {
            domain: domain.to_owned(),
            checks: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, check: Check) {
        self.extend([check]);
    }

    pub(super) fn extend(&mut self, checks: impl IntoIterator<Item = Check>) {
        let room = MOST_CHECKS - self.checks.len();
        self.checks.extend(checks.into_iter().take(room));
    }

    pub(super) fn checks(&self) -> &[Check] {
        &self.checks
    }

    fn count(&self, result: Grade) -> usize {
        let of_kind = self.checks.iter().filter(|check| check.result == result);
        of_kind.count()
    }

    pub(super) fn has_faults(&self) -> bool {
        self.count(Grade::Fault) > 0
    }

    pub(super) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    pub(super) fn text(&self) -> String {
        let mut lines = String::new();
        for check in &self.checks {
            let word = match check.result {
                Grade::Ok => "ok",
                Grade::Warning => "warning",
                Grade::Fault => "FAULT",
                Grade::Skipped => "skipped",
            };
            let _ = writeln!(lines, "{word:<8} {:<18} {}", check.name, check.text);
            if let Some(fix) = &check.fix {
                let _ = writeln!(lines, "{:<27} -> {fix}", "");
            }
        }
        let (faults, warnings) = (self.count(Grade::Fault), self.count(Grade::Warning));
        let counted = |number: usize, word: &str| {
            let plural = if number == 1 { "" } else { "s" };
            format!("{number} {word}{plural}")
        };
        let (faults, warnings) = (counted(faults, "fault"), counted(warnings, "warning"));
        format!("{lines}\n{}: {faults}, {warnings}.\n", self.domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_report_has_a_line_a_check_and_the_fix_under_it() {
        let mut report = Report::of("a.example");
        report.add(Check::ok("record", "all is well"));
        assert!(!report.has_faults());
        report.add(Check::fault("mx", "wrong", "mend it"));
        assert!(report.has_faults());
        let text = report.text();
        assert!(text.starts_with("ok       record             all is well\nFAULT    mx "));
        assert!(text.contains("-> mend it\n"), "{text}");
        assert!(
            text.ends_with("a.example: 1 fault, 0 warnings.\n"),
            "{text}"
        );
        let value: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!(
            value,
            json!({ "domain": "a.example", "checks": [
                { "name": "record", "result": "ok", "text": "all is well" },
                { "name": "mx", "result": "fault", "text": "wrong", "fix": "mend it" },
            ]})
        );
    }

    #[test]
    fn what_others_wrote_is_bounded_and_does_not_move_the_terminal() {
        let long = Check::ok("record", "x".repeat(5_000));
        assert_eq!(long.text.chars().count(), MOST_SHOWN + 1);
        let check = Check::warning("record", "a\u{1b}[31m\n\u{202e}ä", "\u{7}");
        assert_eq!(check.text, "a\u{fffd}[31m\u{fffd}\u{fffd}ä");
        assert_eq!(check.fix.as_deref(), Some("\u{fffd}"));
        let mut report = Report::of("a.example");
        report.extend(std::iter::repeat_n(check, 1_000));
        assert_eq!(report.checks().len(), MOST_CHECKS);
    }
}
