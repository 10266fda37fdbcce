//! Topics, and the way to their subscribers.

use std::sync::Arc;

use super::Parts;
use crate::intake::Intake;
use crate::queue::{Expansion, Transports};
use crate::store::Sealer;
use crate::telemetry::Standings;
use crate::topics::Topics;

impl Parts<'_> {
    /// Topics whose copies go through this door.
    pub(super) fn topics(&self, intake: &Intake) -> Topics {
        let through = (self.store.clone(), intake.clone());
        Topics::new(through, self.clock.clone())
    }

    /// Every way out.
    pub(super) fn transports(
        &self,
        (sealer, standings): (Option<Sealer>, Standings),
        topics: &Topics,
    ) -> Transports {
        let with = (sealer, standings.clone());
        let (peer, webhook, group) = self.outgoing.transports(self.store, with, self.clock);
        Transports {
            peer,
            webhook,
            group,
            standings,
            list: Arc::new(Expansion::new(topics.clone())),
        }
    }
}
