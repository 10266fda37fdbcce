//! All tests, by area.

mod agents;
mod batch;
mod capabilities;
mod delivery;
mod federation;
mod format;
mod idempotency;
mod inbox;
mod json;
mod push_agents;
mod tracking;
mod transport;
mod waiting;
mod webhooks;

use std::sync::Arc;

use anyhow::Result;

use crate::Level;
use crate::context::Context;
use crate::runner::Test;

/// Every test, in the order of the report.
pub(crate) fn all() -> Vec<Test> {
    [
        transport::tests(),
        json::tests(),
        format::tests(),
        delivery::tests(),
        federation::tests(),
        idempotency::tests(),
        batch::tests(),
        waiting::tests(),
        tracking::tests(),
        inbox::tests(),
        capabilities::tests(),
        agents::tests(),
        push_agents::tests(),
        webhooks::tests(),
    ]
    .concat()
}

/// Makes a test of an async function.
fn test<F, W>(level: Level, section: &'static str, (id, rule): (&str, &str), work: F) -> Test
where
    F: Fn(Arc<Context>) -> W + Send + Sync + 'static,
    W: Future<Output = Result<()>> + Send + 'static,
{
    Test {
        id: id.to_owned(),
        level,
        section,
        rule: rule.to_owned(),
        work: Arc::new(move |context| Box::pin(work(context))),
    }
}

#[cfg(test)]
mod checks {
    use super::*;

    #[test]
    fn ids_are_unique_and_every_test_quotes_a_rule() {
        let tests = all();
        let mut ids: Vec<&str> = tests.iter().map(|test| test.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), tests.len());
        assert!(
            tests
                .iter()
                .all(|test| test.rule.len() > 10 && !test.section.is_empty())
        );
        assert!(tests.len() >= 70, "{}", tests.len());
    }
}
