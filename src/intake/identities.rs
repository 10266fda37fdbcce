//! Under what a message travels to other domains.

use std::collections::HashMap;

use uuid::Uuid;

use super::recipients::leads_through;
use crate::clock::Clock;
use crate::envelope::Envelope;
use crate::protocol::{Address, Domain};
use crate::store::{Plan, WireIdentity};

/// Fresh identities for what may not travel under its own: strangers take a UUIDv7 as id and a
/// UUIDv4 as key only (AMTP 1.0, section 4.2.1).
pub(super) struct Identities<'a> {
    envelope: &'a Envelope,
    clock: &'a Clock,
    given: HashMap<Domain, WireIdentity>,
    needed: bool,
}

impl<'a> Identities<'a> {
    pub(super) fn new(envelope: &'a Envelope, clock: &'a Clock) -> Self {
        Self {
            envelope,
            clock,
            given: HashMap::new(),
            needed: !(envelope.message_id.is_uuid_v7() && envelope.idempotency_key.is_uuid_v4()),
        }
    }

    /// All recipients of one foreign domain travel under one identity.
    pub(super) fn give(&mut self, mut plan: Plan, address: &Address) -> Plan {
        // What answers it comes back by that.
        if leads_through(&plan, address) {
            let fresh = self.fresh(1);
            if let Plan::Queue { wire, .. } = &mut plan {
                *wire = Some(fresh);
            }
            return plan;
        }
        if let Plan::Queue { party, wire, .. } = &mut plan
            && *party < 0
            && self.needed
        {
            let domain = address.domain();
            let recipients = self.envelope.message.recipients().iter();
            let count = recipients.filter(|it| it.domain() == domain).count();
            let identity = match self.given.get(domain) {
                Some(identity) => identity.clone(),
                None => self.fresh(u32::try_from(count).unwrap_or(u32::MAX)),
            };
            self.given.insert(domain.clone(), identity.clone());
            *wire = Some(identity);
        }
        plan
    }

    fn fresh(&self, recipients: u32) -> WireIdentity {
        WireIdentity {
            id: self.clock.mint_v7().into(),
            key: Uuid::new_v4().into(),
            recipients,
        }
    }
}
