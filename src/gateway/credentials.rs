//! Who may do what, how often, and where it is written down.

use std::sync::Arc;

use super::endless;
use super::outgoing::Outgoing;
use crate::auth::audit::{Audit, Auditor};
use crate::auth::{Activity, Authenticator, Guesses, Issuers, Resealer, SenderRates, Tokens};
use crate::clock::Clock;
use crate::config::Config;
use crate::lifecycle::Stage;
use crate::net::FileFault;
use crate::store::{Sealer, Store};
use crate::telemetry::Metrics;

/// The name of the only chain of the audit log where one gateway owns the database.
const ONLY_CHAIN: &str = "main";

/// What credentials are checked with.
pub(super) struct Credentials {
    pub(super) auth: Authenticator,
    pub(super) audit: Audit,
    pub(super) guesses: Guesses,
    pub(super) rates: SenderRates,
    pub(super) tiers: Arc<[String]>,
    activity: Activity,
    auditor: Auditor,
    resealer: Option<Resealer>,
}

impl Credentials {
    pub(super) fn new(
        config: &Config,
        (store, clock): (&Store, &Clock),
        sealer: Option<&Sealer>,
        node: uuid::Uuid,
    ) -> Self {
        let activity = Activity::default();
        let issuer = config.gateway_url.to_string();
        let tokens =
            sealer.map(|sealer| Tokens::new(store.clone(), sealer.clone(), clock.clone(), issuer));
        let chain = match store.is_shared() {
            true => node.to_string(),
            false => ONLY_CHAIN.to_owned(),
        };
        let (audit, auditor) = Audit::new(store.clone(), clock.clone(), chain);
        let admin_keys = [config.admin.key.reveal()];
        let (store_, clock_) = (store.clone(), clock.clone());
        let auth = Authenticator::new(store_, clock_, activity.clone(), admin_keys);
        let salt = config.agentry.as_ref().map(|it| it.key_salt.clone());
        let limits = &config.limits;
        let usual = (&limits.sender_rate, &limits.domain_rate);
        Self {
            auth: auth.with_tokens(tokens).with_salt(salt),
            audit,
            guesses: Guesses::new(clock.clone()),
            rates: SenderRates::new(usual, &limits.tiers, clock.clone()),
            tiers: limits.tiers.keys().cloned().collect(),
            activity,
            auditor,
            resealer: sealer.map(|it| Resealer::new(store.clone(), it.clone(), clock.clone())),
        }
    }

    /// Takes what others issue as well: tokens, and certificates of agents.
    pub(super) fn with_others(
        mut self,
        config: &Config,
        (clock, metrics): (&Clock, &Metrics),
        outgoing: &Outgoing,
    ) -> Result<Self, FileFault> {
        let certificates = Outgoing::agent_certificates(config, clock)?;
        let issuers = outgoing.issuers(config, clock, metrics);
        self.auth = self.auth.with_issuers(issuers);
        self.auth = self.auth.with_certificates(certificates);
        Ok(self)
    }

    /// Spawns what writes and what forgets. What is written last is that all others stopped.
    pub(super) fn spawn(self, (store, clock): (&Store, &Clock), last: &Stage, work: &Stage) {
        last.spawn("audit", endless(self.auditor.run(last.stop())));
        work.spawn(
            "activity",
            self.activity.run(store.clone(), clock.clone(), work.stop()),
        );
        work.spawn("guesses", endless(self.guesses.run(work.stop())));
        work.spawn("rates", endless(self.rates.run(work.stop())));
        if let Some(resealer) = self.resealer {
            work.spawn("resealer", endless(resealer.run(work.stop())));
        }
        if let Some(tokens) = self.auth.tokens() {
            work.spawn("tokens", endless(tokens.clone().run(work.stop())));
        }
        for keeper in self.auth.issuers().into_iter().flat_map(Issuers::keepers) {
            work.spawn("issuer", endless(keeper.run(work.stop())));
        }
    }
}
