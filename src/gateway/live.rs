//! The sessions of this gateway, from their configuration.

use uuid::Uuid;

use crate::clock::Clock;
use crate::config::Config;
pub(super) use crate::live::Live;
use crate::live::LiveRules;
use crate::store::Store;
use crate::telemetry::Metrics;

/// The sessions of the gateway `node`: none yet.
pub(super) fn live(
    config: &Config,
    (store, clock, metrics): (&Store, &Clock, &Metrics),
    node: Uuid,
) -> Live {
    let rules = LiveRules {
        heartbeat: config.live.heartbeat,
        resume: config.live.resume,
        sessions: config.live.sessions,
        window: config.live.window,
    };
    let tools = (store.clone(), clock.clone());
    Live::new(tools, metrics.live().clone(), rules, node)
}
