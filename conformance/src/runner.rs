//! Runs the tests, a few at a time; those that disturb others come last, one by one.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::context::Context;
use crate::level::Level;

/// What a test does.
pub(crate) type Work =
    Arc<dyn Fn(Arc<Context>) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync>;

/// One test.
#[derive(Clone)]
pub(crate) struct Test {
    pub(crate) id: String,
    pub(crate) level: Level,
    /// The section of the draft.
    pub(crate) section: &'static str,
    /// The requirement in our words.
    pub(crate) rule: String,
    pub(crate) work: Work,
    /// Whether no other test may run beside it.
    pub(crate) alone: bool,
}

/// Ends a test that the subject gives no means for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Skipped(pub(crate) &'static str);

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Skipped {}

/// What a test found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    /// Why.
    Failed(String),
    /// What was missing to test it.
    Skipped(&'static str),
    /// It failed as the subject's description says: the reason given there, and what was found.
    Deviates {
        reason: String,
        found: String,
    },
    /// It passed, although the subject's description says that it fails.
    Mended,
}

/// What came of a test.
pub(crate) struct Outcome {
    pub(crate) test: Test,
    pub(crate) verdict: Verdict,
    pub(crate) took: Duration,
}

/// Who is told of each test as it ends.
pub(crate) type Told = fn(&Outcome);

/// Runs all tests and answers in their order.
pub(crate) async fn run(
    context: Arc<Context>,
    tests: Vec<Test>,
    told: Option<Told>,
) -> Vec<Outcome> {
    let places = Arc::new(Semaphore::new(context.subject.at_once));
    let numbered = tests.into_iter().enumerate();
    let (alone, beside): (Vec<_>, Vec<_>) = numbered.partition(|(_, test)| test.alone);
    let mut running = JoinSet::new();
    for (number, test) in beside {
        let (context, places) = (context.clone(), places.clone());
        running.spawn(async move {
            let _place = places.acquire_owned().await;
            (number, one(context, test, told).await)
        });
    }
    let mut outcomes: Vec<(usize, Outcome)> = running.join_all().await;
    for (number, test) in alone {
        outcomes.push((number, one(context.clone(), test, told).await));
    }
    outcomes.sort_by_key(|(number, _)| *number);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

#[allow(
    clippy::disallowed_methods,
    reason = "a report shows how long a test took"
)]
async fn one(context: Arc<Context>, test: Test, told: Option<Told>) -> Outcome {
    let began = std::time::Instant::now();
    context.begin();
    let expected = context.subject.expected_failure(&test.id);
    let expected = expected.map(|(reason, named)| (reason.to_owned(), named));
    let fault = (test.work)(context).await.err();
    let outcome = Outcome {
        verdict: verdict(fault, expected),
        test,
        took: began.elapsed(),
    };
    if let Some(told) = told {
        told(&outcome);
    }
    outcome
}

fn verdict(fault: Option<anyhow::Error>, expected: Option<(String, bool)>) -> Verdict {
    let skipped = fault.as_ref().and_then(|it| it.downcast_ref::<Skipped>());
    if let Some(Skipped(why)) = skipped {
        return Verdict::Skipped(why);
    }
    match (fault.map(|fault| format!("{fault:#}")), expected) {
        (None, Some((_, true))) => Verdict::Mended,
        (None, _) => Verdict::Passed,
        (Some(found), None) => Verdict::Failed(found),
        (Some(found), Some((reason, _))) => Verdict::Deviates { reason, found },
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn what_is_expected_to_fail_is_told_from_what_fails() {
        let expected = || Some(("known".to_owned(), true));
        let among = Some(("known".to_owned(), false));
        assert_eq!(verdict(None, among), Verdict::Passed);
        assert_eq!(verdict(None, None), Verdict::Passed);
        assert_eq!(verdict(None, expected()), Verdict::Mended);
        assert_eq!(
            verdict(Some(anyhow!("x")), None),
            Verdict::Failed("x".into())
        );
        let skipped = || Some(anyhow::Error::from(Skipped("no means")));
        assert_eq!(verdict(skipped(), expected()), Verdict::Skipped("no means"));
        assert_eq!(
            verdict(Some(anyhow!("x")), expected()),
            Verdict::Deviates {
                reason: "known".into(),
                found: "x".into()
            }
        );
    }
}
