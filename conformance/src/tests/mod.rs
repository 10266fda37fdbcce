//! All tests, by area.

mod a2a;
mod agents;
mod answers;
mod batch;
mod capabilities;
mod delivery;
mod discovery;
mod failing;
mod federation;
mod format;
mod idempotency;
mod inbox;
mod json;
mod mailing;
mod policies;
mod push_agents;
mod restart;
mod schemas;
mod sending;
mod signatures;
mod signing;
mod tolerance;
mod tracking;
mod transport;
mod waiting;
mod webhooks;
mod websocket;
mod workflows;

use std::sync::Arc;

use anyhow::Result;

use crate::context::Context;
use crate::level::Level;
use crate::runner::Test;

/// Every test, in the order of the report.
pub(crate) fn all() -> Vec<Test> {
    [
        transport::tests(),
        json::tests(),
        format::tests(),
        discovery::tests(),
        delivery::tests(),
        tolerance::tests(),
        sending::tests(),
        answers::tests(),
        federation::tests(),
        failing::tests(),
        idempotency::tests(),
        batch::tests(),
        waiting::tests(),
        tracking::tests(),
        inbox::tests(),
        capabilities::tests(),
        agents::tests(),
        push_agents::tests(),
        webhooks::tests(),
        schemas::tests(),
        policies::tests(),
        signatures::tests(),
        signing::tests(),
        mailing::tests(),
        workflows::tests(),
        websocket::tests(),
        a2a::tests(),
        restart::tests(),
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
        alone: false,
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
        assert!(tests.len() >= 250, "{}", tests.len());
    }
}
