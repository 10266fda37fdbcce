//! The sessions of this gateway, from their configuration.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::credentials::Credentials;
use super::outgoing::Outgoing;
use crate::clock::Clock;
use crate::config::Config;
use crate::endpoint::websocket::{Dialler, Room, Tools};
use crate::intake::{Intake, LocalNames};
pub(super) use crate::live::Live;
use crate::live::LiveRules;
use crate::queue::Share;
use crate::store::{Agent, Sealer, Store};
use crate::telemetry::Metrics;
use crate::topics::Topics;
use crate::transport::webhook::greeting;

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

/// What connections of agents work with.
pub(super) fn sockets(
    config: &Config,
    (intake, live, topics): (&Intake, &Live, &Topics),
    (store, clock): (&Store, &Clock),
    credentials: &Credentials,
    (draining, names): (CancellationToken, Arc<LocalNames>),
) -> Tools {
    Tools {
        intake: intake.clone(),
        store: store.clone(),
        auth: credentials.auth.clone(),
        names,
        live: live.clone(),
        topics: topics.clone(),
        clock: clock.clone(),
        guesses: credentials.guesses.clone(),
        audit: credentials.audit.clone(),
        draining,
        room: Room::new(config.limits.message_size, config.live.compression),
    }
}

/// What keeps connections to agents open; nothing where there is no key to greet them with.
pub(super) fn dialler(
    tools: &Tools,
    outgoing: &Outgoing,
    (sealer, share): (Option<&Sealer>, &Share),
) -> Option<Dialler> {
    let (sealer, share) = (sealer?.clone(), share.clone());
    let greeting = move |agent: &Agent, id: &str, now| greeting(agent, &sealer, id, now);
    let mine = move |number| share.is_mine(number);
    let client = outgoing.sockets.clone();
    let dialler = Dialler::new(tools.clone(), client, Arc::new(greeting), Arc::new(mine));
    Some(dialler)
}
