//! Topics, and the way to their subscribers.

use super::Parts;
use crate::intake::Intake;
use crate::queue::Transports;
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
        let tools = (self.store, self.clock);
        self.outgoing.transports(tools, (sealer, standings), topics)
    }
}
