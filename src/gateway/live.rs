//! The sessions of this gateway, from their configuration.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::credentials::Credentials;
use super::endless;
use super::outgoing::Outgoing;
use crate::clock::Clock;
use crate::config::Config;
use crate::endpoint::http::Api;
use crate::endpoint::websocket::{Dialler, Room, Tools};
use crate::intake::{Intake, LocalNames};
use crate::lifecycle::Stage;
pub(super) use crate::live::Live;
use crate::live::LiveRules;
use crate::queue::Share;
use crate::store::{Agent, Store};
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

/// Looks after sessions, and after what goes to many.
pub(super) fn spawn(work: &Stage, live: Live, topics: Topics) {
    work.spawn("live", endless(live.run(work.stop())));
    work.spawn("topics", endless(topics.run(work.stop())));
}

/// Keeps connections to agents open; to none where there is no key to greet them with.
pub(super) fn dial(doors: &Stage, api: &Api, outgoing: &Outgoing, share: &Share) {
    let Some(sealer) = api.sealer.clone() else {
        return;
    };
    let greeting = move |agent: &Agent, id: &str, now| greeting(agent, &sealer, id, now);
    let share = share.clone();
    let mine = move |number| share.is_mine(number);
    let client = outgoing.sockets.clone();
    let dialler = Dialler::new(
        api.sockets.clone(),
        client,
        Arc::new(greeting),
        Arc::new(mine),
    );
    doors.spawn("dialler", endless(dialler.run(doors.stop())));
}
