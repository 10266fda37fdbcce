//! Reports for programs: JUnit XML and JSON.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::{Value, json};

use super::standing::standings;
use crate::runner::{Outcome, Verdict};

/// The run as JUnit XML. What deviates as expected counts as skipped there, with the reason.
pub(crate) fn junit(outcomes: &[Outcome]) -> String {
    let count = |of: fn(&Verdict) -> bool| {
        outcomes
            .iter()
            .filter(|outcome| of(&outcome.verdict))
            .count()
    };
    let failed = count(|it| matches!(it, Verdict::Failed(_)));
    let skipped = count(|it| matches!(it, Verdict::Skipped(_) | Verdict::Deviates { .. }));
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"amtp-conformance\" tests=\"{}\" failures=\"{failed}\" skipped=\"{skipped}\">\n",
        outcomes.len()
    );
    for outcome in outcomes {
        let test = &outcome.test;
        let _ = write!(
            text,
            "  <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\"",
            test.level.name(),
            escaped(&test.id),
            outcome.took.as_secs_f64()
        );
        let inside = match &outcome.verdict {
            Verdict::Passed | Verdict::Mended => {
                text.push_str("/>\n");
                continue;
            }
            Verdict::Skipped(why) => format!("<skipped message=\"{}\"/>", escaped(why)),
            Verdict::Deviates { reason, .. } => {
                format!("<skipped message=\"expected: {}\"/>", escaped(reason))
            }
            Verdict::Failed(why) => format!(
                "<failure message=\"{}\">{}</failure>",
                escaped(&test.rule),
                escaped(why)
            ),
        };
        let _ = writeln!(text, ">{inside}</testcase>");
    }
    text.push_str("</testsuite>\n");
    text
}

pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' | '\t' => safe.push(' '),
            other if other.is_control() => safe.push('\u{fffd}'),
            other => safe.push(other),
        }
    }
    safe
}

fn test(outcome: &Outcome) -> Value {
    let (result, reason, found) = match &outcome.verdict {
        Verdict::Passed => ("passed", None, None),
        Verdict::Failed(why) => ("failed", None, Some(why.as_str())),
        Verdict::Skipped(why) => ("skipped", Some(*why), None),
        Verdict::Deviates { reason, found } => {
            ("deviates", Some(reason.as_str()), Some(found.as_str()))
        }
        Verdict::Mended => ("mended", None, None),
    };
    json!({
        "id": outcome.test.id,
        "level": outcome.test.level.name(),
        "section": outcome.test.section,
        "requirement": outcome.test.rule,
        "result": result,
        "reason": reason,
        "found": found,
        "seconds": outcome.took.as_secs_f64(),
    })
}

/// The run as JSON.
pub(crate) fn json(name: &str, outcomes: &[Outcome]) -> Result<String> {
    let tests: Vec<Value> = outcomes.iter().map(test).collect();
    let levels: Vec<Value> = standings(outcomes)
        .iter()
        .map(|it| {
            json!({
                "level": it.level.name(), "reached": it.is_reached(), "passed": it.passed,
                "failed": it.failed, "skipped": it.skipped, "deviates": it.deviating,
            })
        })
        .collect();
    let report = json!({ "subject": name, "levels": levels, "tests": tests });
    Ok(serde_json::to_string_pretty(&report)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level::Level;
    use crate::report::samples::outcome;

    #[test]
    fn the_reports_tell_the_results_apart_and_escape_what_they_show() {
        let outcomes = [
            outcome(Level::Core, Verdict::Passed),
            outcome(Level::Core, Verdict::Failed("got <html>\u{1b}".to_owned())),
            outcome(Level::Amtpd, Verdict::Skipped("no \"means\"")),
        ];
        let xml = junit(&outcomes);
        assert!(
            xml.contains("tests=\"3\" failures=\"1\" skipped=\"1\""),
            "{xml}"
        );
        assert!(xml.contains("got &lt;html&gt;\u{fffd}</failure>"));
        assert!(xml.contains("<skipped message=\"no &quot;means&quot;\"/>"));
        let value: Value = serde_json::from_str(&json("x", &outcomes).unwrap()).unwrap();
        assert_eq!(value["levels"][0]["reached"], false);
        assert_eq!(value["tests"][1]["found"], "got <html>\u{1b}");
    }
}
