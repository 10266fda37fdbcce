//! Tables on standard output.

use std::io::Write as _;

use comfy_table::{ContentArrangement, Table};

use super::standing::Standing;
use crate::mutants::{Mutant, Tried};
use crate::runner::{Outcome, Test, Verdict};

/// Characters of a line where no terminal says it.
const WIDTH: u16 = 180;

/// Says why nothing could be tested.
pub(crate) fn complain(error: &anyhow::Error) {
    let _ = writeln!(std::io::stderr(), "amtp-conformance: {error:#}");
}

/// Writes a line; a reader who has gone away misses nothing.
fn say(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The tests, a line each.
pub(crate) fn list(tests: &[Test]) {
    for test in tests {
        let Test {
            level,
            id,
            section,
            rule,
            ..
        } = test;
        say(format_args!(
            "{:21} {id:36} {section:8} {rule}",
            level.name()
        ));
    }
}

fn new(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if table.width().is_none() {
        table.set_width(WIDTH);
    }
    table.set_header(header);
    table
}

/// A test that has ended.
pub(crate) fn progress(outcome: &Outcome) {
    let took = outcome.took.as_secs_f64();
    let line = format!(
        "{:9} {} ({took:.1} s)",
        word(&outcome.verdict),
        outcome.test.id
    );
    let _ = writeln!(std::io::stderr(), "{line}");
}

const fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "passed",
        Verdict::Failed(_) => "FAILED",
        Verdict::Skipped(_) => "skipped",
        Verdict::Deviates { .. } => "deviates",
        Verdict::Mended => "mended",
    }
}

/// The outcome of each test.
pub(crate) fn table(outcomes: &[Outcome]) {
    let mut table = new(&["test", "level", "section", "requirement", "result"]);
    for outcome in outcomes {
        let more = match &outcome.verdict {
            Verdict::Passed => "",
            Verdict::Failed(why) => why,
            Verdict::Skipped(why) => why,
            Verdict::Deviates { reason, .. } => reason,
            Verdict::Mended => "it was expected to fail",
        };
        let result = [word(&outcome.verdict), more]
            .join(": ")
            .trim_end_matches(": ")
            .to_owned();
        let test = &outcome.test;
        table.add_row([
            &test.id,
            test.level.name(),
            test.section,
            &test.rule,
            &result,
        ]);
    }
    say(&table);
}

/// The levels, and what was not as it should be.
pub(crate) fn summary(standings: &[Standing], outcomes: &[Outcome]) {
    let mut table = new(&[
        "level", "passed", "failed", "deviates", "skipped", "standing",
    ]);
    for it in standings {
        let numbers = [it.passed, it.failed, it.deviating, it.skipped].map(|it| it.to_string());
        let mut row = vec![it.level.name().to_owned()];
        row.extend(numbers);
        row.push(it.words());
        table.add_row(row);
    }
    say(&table);
    for outcome in outcomes {
        match &outcome.verdict {
            Verdict::Failed(why) => say(format_args!("FAILED {}: {why}", outcome.test.id)),
            Verdict::Mended => say(format_args!(
                "{} passes: take it out of expected_failures",
                outcome.test.id
            )),
            _ => {}
        }
    }
}

/// The mutants, a line each.
pub(crate) fn list_mutants(mutants: &[Mutant]) {
    for mutant in mutants {
        say(format_args!("{:28} {}", mutant.claimed_by, mutant.breaks));
    }
}

/// What became of each mutant, and the score.
pub(crate) fn mutants(tried: &[Tried]) {
    let mut table = new(&["mutant", "claimed by", "result"]);
    for it in tried {
        let result = match &it.caught {
            Some(how) => format!("caught: {how}"),
            None => format!("SURVIVED: {}", it.survived),
        };
        table.add_row([it.breaks, it.claimed_by, &result]);
    }
    say(&table);
    let caught = tried.iter().filter(|it| it.caught.is_some()).count();
    say(format_args!("{caught} of {} mutants caught", tried.len()));
}
