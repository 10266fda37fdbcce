//! What people and programs read of a run.

mod badge;
mod files;
mod standing;
mod table;

pub(crate) use badge::badge;
pub(crate) use files::{json, junit};
pub(crate) use standing::{exit_code, standings};
pub(crate) use table::{complain, list, list_mutants, mutants, progress, summary, table};

#[cfg(test)]
pub(crate) mod samples {
    use std::sync::Arc;
    use std::time::Duration;

    use crate::level::Level;
    use crate::runner::{Outcome, Test, Verdict};

    pub(crate) fn outcome(level: Level, verdict: Verdict) -> Outcome {
        let test = Test {
            id: "a.b".to_owned(),
            level,
            section: "4.2",
            rule: "a rule with <angles> & \"quotes\"".to_owned(),
            work: Arc::new(|_| Box::pin(async { Ok(()) })),
            alone: false,
        };
        Outcome {
            test,
            verdict,
            took: Duration::from_millis(5),
        }
    }
}
