//! Which levels a gateway reaches.
//!
//! A level is reached when tests of it have passed and none has failed, expected or not. What was
//! skipped is counted and shown with the level. A run is good when nothing failed that the subject's
//! description does not expect: then the exit code is 0.

use crate::level::Level;
use crate::runner::{Outcome, Verdict};

/// How a gateway stands at one level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) level: Level,
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
    pub(crate) deviating: usize,
}

impl Standing {
    /// Whether the level is reached, as far as its own tests say.
    pub(crate) const fn is_reached(&self) -> bool {
        self.failed == 0 && self.deviating == 0 && self.passed > 0
    }

    /// The same in words.
    pub(crate) fn words(&self) -> String {
        let counted = self.passed + self.failed + self.deviating;
        match self.skipped {
            _ if self.failed > 0 => "NOT reached".to_owned(),
            _ if counted == 0 => "not tested".to_owned(),
            _ if self.deviating > 0 => "deviates, as expected".to_owned(),
            0 => "reached".to_owned(),
            some => format!("reached; {some} not tested"),
        }
    }
}

/// The levels that were tested, in order.
pub(crate) fn standings(outcomes: &[Outcome]) -> Vec<Standing> {
    let of = |level: Level| {
        let mut standing = Standing {
            level,
            passed: 0,
            failed: 0,
            skipped: 0,
            deviating: 0,
        };
        for outcome in outcomes.iter().filter(|it| it.test.level == level) {
            match outcome.verdict {
                Verdict::Passed | Verdict::Mended => standing.passed += 1,
                Verdict::Failed(_) => standing.failed += 1,
                Verdict::Skipped(_) => standing.skipped += 1,
                Verdict::Deviates { .. } => standing.deviating += 1,
            }
        }
        standing
    };
    let tested = |it: &Standing| it.passed + it.failed + it.skipped + it.deviating > 0;
    Level::ALL.into_iter().map(of).filter(tested).collect()
}

/// What the exit code says: 0 nothing failed that was not expected, 1 something of Core did, 3 of
/// Extended but not of Core, 4 of a profile only.
pub(crate) fn exit_code(standings: &[Standing]) -> u8 {
    let good = |of: fn(Level) -> bool| {
        let mut these = standings.iter().filter(|it| of(it.level));
        these.all(|it| it.failed == 0)
    };
    if !good(|level| level == Level::Core) {
        1
    } else if !good(Level::is_extended) {
        3
    } else if !good(|_| true) {
        4
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::outcome;

    #[test]
    fn the_exit_code_says_which_level_is_reached() {
        let failed = || Verdict::Failed("x".to_owned());
        let run = |verdicts: Vec<(Level, Verdict)>| {
            let outcomes: Vec<_> = verdicts
                .into_iter()
                .map(|(level, verdict)| outcome(level, verdict))
                .collect();
            exit_code(&standings(&outcomes))
        };
        let core = (Level::Core, Verdict::Passed);
        assert_eq!(run(vec![core.clone()]), 0);
        assert_eq!(run(vec![core.clone(), (Level::Core, failed())]), 1);
        assert_eq!(run(vec![core.clone(), (Level::Advanced, failed())]), 3);
        assert_eq!(run(vec![core.clone(), (Level::Amtpd, failed())]), 4);
        assert_eq!(run(vec![core, (Level::Amtpd, Verdict::Skipped("x"))]), 0);
    }

    #[test]
    fn a_level_with_a_deviation_is_not_reached_although_the_run_is_good() {
        let deviates = Verdict::Deviates {
            reason: "known".to_owned(),
            found: "x".to_owned(),
        };
        let outcomes = [
            outcome(Level::Core, Verdict::Passed),
            outcome(Level::Core, deviates),
        ];
        let standings = standings(&outcomes);
        assert!(!standings[0].is_reached());
        assert_eq!(standings[0].words(), "deviates, as expected");
        assert_eq!(exit_code(&standings), 0);
    }
}
