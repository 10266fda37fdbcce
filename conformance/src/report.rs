//! What people and programs read of a run.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is the program's output"
)]

use std::fmt::Write as _;

use anyhow::Result;
use comfy_table::{ContentArrangement, Table};
use serde_json::json;

use crate::runner::{Outcome, Test};

/// Says why nothing could be tested.
pub(crate) fn complain(error: &anyhow::Error) {
    eprintln!("amtp-conformance: {error:#}");
}

/// The tests, a line each.
pub(crate) fn list(tests: &[Test]) {
    for test in tests {
        println!(
            "{:10} {:44} {:8} {}",
            test.level.name(),
            test.id,
            test.section,
            test.rule
        );
    }
}

/// The outcome of each test.
pub(crate) fn table(outcomes: &[Outcome]) {
    let mut table = Table::new();
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["test", "level", "section", "requirement", "result"]);
    for outcome in outcomes {
        let result = match (&outcome.failure, outcome.skipped) {
            (Some(why), _) => format!("FAILED: {why}"),
            (None, Some(why)) => format!("skipped: {why}"),
            (None, None) => "passed".to_owned(),
        };
        let test = &outcome.test;
        table.add_row([
            &test.id,
            test.level.name(),
            test.section,
            &test.rule,
            &result,
        ]);
    }
    println!("{table}");
}

/// The closing line.
pub(crate) fn summary(outcomes: &[Outcome]) {
    let (passed, failed, skipped) = counts(outcomes);
    println!("{passed} passed, {failed} failed, {skipped} skipped");
}

fn counts(outcomes: &[Outcome]) -> (usize, usize, usize) {
    let failed = outcomes
        .iter()
        .filter(|outcome| outcome.failure.is_some())
        .count();
    let skipped = outcomes
        .iter()
        .filter(|outcome| outcome.skipped.is_some())
        .count();
    (outcomes.len() - failed - skipped, failed, skipped)
}

/// The run as JUnit XML.
pub(crate) fn junit(outcomes: &[Outcome]) -> String {
    let (_, failed, skipped) = counts(outcomes);
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
        match &outcome.failure {
            None if outcome.skipped.is_some() => text.push_str("><skipped/></testcase>\n"),
            None => text.push_str("/>\n"),
            Some(why) => {
                let _ = writeln!(
                    text,
                    "><failure message=\"{}\">{}</failure></testcase>",
                    escaped(&test.rule),
                    escaped(why)
                );
            }
        }
    }
    text.push_str("</testsuite>\n");
    text
}

fn escaped(text: &str) -> String {
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

/// The run as JSON.
pub(crate) fn json(outcomes: &[Outcome]) -> Result<String> {
    let tests: Vec<_> = outcomes
        .iter()
        .map(|outcome| {
            json!({
                "id": outcome.test.id,
                "level": outcome.test.level.name(),
                "section": outcome.test.section,
                "requirement": outcome.test.rule,
                "passed": outcome.failure.is_none() && outcome.skipped.is_none(),
                "skipped": outcome.skipped,
                "reason": outcome.failure,
                "seconds": outcome.took.as_secs_f64(),
            })
        })
        .collect();
    let failed = outcomes
        .iter()
        .filter(|outcome| outcome.failure.is_some())
        .count();
    let report = json!({ "passed": outcomes.len() - failed, "failed": failed, "tests": tests });
    Ok(serde_json::to_string_pretty(&report)?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::Level;

    fn outcome(failure: Option<&str>) -> Outcome {
        let test = Test {
            id: "a.b".to_owned(),
            level: Level::Core,
            section: "4.2",
            rule: "a rule with <angles> & \"quotes\"".to_owned(),
            work: Arc::new(|_| Box::pin(async { Ok(()) })),
        };
        Outcome {
            test,
            skipped: None,
            failure: failure.map(str::to_owned),
            took: Duration::from_millis(5),
        }
    }

    #[test]
    fn the_reports_tell_passed_from_failed_and_escape_what_they_show() {
        let outcomes = [outcome(None), outcome(Some("got <html>\u{1b}"))];
        let xml = junit(&outcomes);
        assert!(xml.contains("tests=\"2\" failures=\"1\" skipped=\"0\""));
        assert!(xml.contains("got &lt;html&gt;\u{fffd}</failure>"));
        let value: serde_json::Value = serde_json::from_str(&json(&outcomes).unwrap()).unwrap();
        assert_eq!((&value["passed"], &value["failed"]), (&json!(1), &json!(1)));
        assert_eq!(value["tests"][1]["reason"], "got <html>\u{1b}");
    }
}
