//! Topics, and the way to their subscribers.

use std::sync::Arc;

use super::Parts;
use crate::intake::Intake;
use crate::queue::{Expansion, Transports};
use crate::store::Sealer;
use crate::topics::Topics;

impl Parts<'_> {
    /// Topics whose copies go through this door.
    pub(super) fn topics(&self, intake: &Intake) -> Topics {
        let through = (self.store.clone(), intake.clone());
        Topics::new(through, self.clock.clone())
    }

    /// Every way out.
    pub(super) fn transports(&self, sealer: Option<Sealer>, topics: &Topics) -> Transports {
        let (peer, webhook) = self.outgoing.transports(self.store, sealer, self.clock);
        Transports {
            peer,
            webhook,
            list: Arc::new(Expansion::new(topics.clone())),
        }
    }
}
