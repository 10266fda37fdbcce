//! Runs the tests, a few at a time.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::Level;
use crate::context::Context;
use crate::subject::Subject;

/// Tests running at a time.
const AT_ONCE: usize = 8;

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

/// What came of a test.
pub(crate) struct Outcome {
    pub(crate) test: Test,
    pub(crate) failure: Option<String>,
    pub(crate) skipped: Option<&'static str>,
    pub(crate) took: Duration,
}

/// Runs all tests and answers in their order.
pub(crate) async fn run(subject: Subject, tests: Vec<Test>) -> Result<Vec<Outcome>> {
    let context = Arc::new(Context::new(subject)?);
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    for (number, test) in tests.into_iter().enumerate() {
        let (context, places) = (context.clone(), places.clone());
        running.spawn(async move {
            let _place = places.acquire_owned().await;
            (number, one(context, test).await)
        });
    }
    let mut outcomes: Vec<(usize, Outcome)> = running.join_all().await;
    outcomes.sort_by_key(|(number, _)| *number);
    Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
}

#[allow(
    clippy::disallowed_methods,
    reason = "a report shows how long a test took"
)]
async fn one(context: Arc<Context>, test: Test) -> Outcome {
    let began = std::time::Instant::now();
    let fault = (test.work)(context).await.err();
    let skipped = fault
        .as_ref()
        .and_then(|fault| fault.downcast_ref::<Skipped>())
        .map(|it| it.0);
    Outcome {
        test,
        failure: fault
            .filter(|_| skipped.is_none())
            .map(|fault| format!("{fault:#}")),
        skipped,
        took: began.elapsed(),
    }
}
