//! Mail of an agent that polls: from the queue into its mailbox, as far as there is room.
//!
//! It waits in the queue because the agent had a webhook before, was given back by an operator, or
//! because the mailbox was full. A full mailbox is looked at again after two seconds, and when
//! something left it.

use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::{Carrier, Event, send};
use crate::queue::window::{After, Report};
use crate::store::{Agent, Arriving, Delivery};
use crate::transport::{Destination, is_for_readers};

/// A full mailbox is looked at again after this time.
const FULL: Duration = Duration::from_secs(2);

impl Carrier {
    /// Whether what waits for this agent belongs into its mailbox: it polls, or it is a group of
    /// which nobody can be called and somebody reads.
    pub(super) async fn is_for_mailbox(&self, destination: &Destination, agent: &Agent) -> bool {
        if !matches!(destination, Destination::Group(_)) {
            return agent.settings.has_mailbox();
        }
        let standings = &self.transports.standings;
        match self.store.members_of(agent).await {
            Ok(members) => agent.active && is_for_readers(&members, standings, self.clock.now()),
            Err(_) => false,
        }
    }

    /// Moves deliveries into a mailbox.
    pub(super) async fn move_to_inbox(
        &self,
        id: u64,
        mailbox: i64,
        deliveries: Vec<Delivery>,
        tell: &UnboundedSender<Event>,
    ) -> Result<(), ()> {
        let now = self.clock.now();
        let arriving: Vec<Arriving> = deliveries.iter().map(arriving).collect();
        let entered = self.store.enter_mailbox(mailbox, arriving, now).await;
        let settled =
            entered.map_err(|error| tracing::error!(%error, "mail could not be moved to an inbox"));
        let full = After::Blocked {
            until: now.plus(FULL),
            destination_fault: true,
        };
        // What could not be moved is looked at again when that has landed.
        let entered = settled.clone().unwrap_or_default();
        let results = deliveries.iter().enumerate().map(|(place, it)| {
            let waits = entered.get(place) == Some(&false);
            (it.seq, if waits { full } else { After::Done })
        });
        let report = match (settled.is_ok(), entered.contains(&true)) {
            (true, true) => Report::Well,
            (true, false) if !deliveries.is_empty() => Report::Full(FULL),
            _ => Report::Unknown,
        };
        for _ in entered.iter().filter(|entered| **entered) {
            self.metrics.queue().settled("moved", "mailbox");
        }
        send(tell, id, results.collect(), report);
        settled.map(drop)
    }
}

fn arriving(delivery: &Delivery) -> Arriving {
    Arriving {
        seq: delivery.seq,
        mid: delivery.stored.mid,
        size: delivery.stored.body.len(),
    }
}
