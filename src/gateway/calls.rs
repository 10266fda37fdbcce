//! A2A agents of others, from the configuration.

use super::outgoing::Outgoing;
use super::{Parts, endless};
use crate::clock::Clock;
use crate::config::Config;
use crate::endpoint::http::Api;
use crate::lifecycle::Stage;
use crate::net::GuardedClient;
use crate::queue::{CallRules, Calls};
use crate::store::Sealer;
use crate::transport::{A2aClient, A2aOptions};

/// The way to A2A agents of others.
pub(super) struct A2aWay {
    client: GuardedClient,
    options: A2aOptions,
}

impl A2aWay {
    pub(super) fn new(config: &Config, client: GuardedClient) -> Self {
        let section = &config.a2a_client;
        let url = config.gateway_url.to_string();
        let callback = section.push.then(|| url.trim_end_matches('/').to_owned());
        Self {
            client,
            options: A2aOptions {
                callback,
                time: section.timeout,
                size: config.limits.message_size,
                first_look: section.poll_first,
                task_time: section.task_time,
            },
        }
    }

    /// What connects, for others that are not called as agents.
    pub(super) fn guarded(&self) -> GuardedClient {
        self.client.clone()
    }

    pub(super) fn client(&self, sealer: Option<Sealer>, clock: &Clock) -> A2aClient {
        let (client, options) = (self.client.clone(), self.options.clone());
        A2aClient::new(client, sealer, options, clock.clone())
    }
}

impl Outgoing {
    /// Asks A2A agents of others.
    pub(super) fn a2a(&self, sealer: Option<Sealer>, clock: &Clock) -> A2aClient {
        self.a2a.client(sealer, clock)
    }
}

impl Parts<'_> {
    /// Follows what A2A agents of others were asked.
    pub(super) fn spawn_calls(&self, work: &Stage, api: &Api) {
        let section = &self.config.a2a_client;
        let rules = CallRules {
            first: section.poll_first,
            longest: section.poll_longest.max(section.poll_first),
        };
        let through = (self.store.clone(), api.intake.clone());
        let client = self.outgoing.a2a(api.sealer.clone(), self.clock);
        let calls = Calls::new(through, client, rules, self.clock.clone());
        work.spawn("a2a calls", endless(calls.run(work.stop())));
    }
}
