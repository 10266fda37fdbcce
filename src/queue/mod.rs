//! What goes on without anybody calling.

mod backoff;
mod calls;
mod carrier;
mod destination;
mod expansion;
mod keeper;
mod lane;
mod late;
mod manager;
#[cfg(test)]
mod model;
mod notices;
mod overdue;
mod pace;
mod shards;
mod share;
mod sweeper;
mod verdict;
mod watch;
mod window;

pub use backoff::Schedule;
pub use calls::{CallRules, Calls};
pub use carrier::Transports;
pub use expansion::Expansion;
pub use keeper::{Keeper, Membership};
pub use manager::{Manager, QueueFault, QueueLimits};
pub use overdue::Overdue;
pub use share::Share;
pub use sweeper::Sweeper;
pub use watch::{Thresholds, Watch};

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::intake::{Intake, Offer};
use crate::protocol::Domain;
use crate::store::Store;
use crate::telemetry::{Metrics, Post};
use crate::topics::Topics;

/// What the queue goes by.
#[derive(Debug, Clone)]
pub struct QueueRules {
    /// When deliveries are tried again.
    pub schedule: Schedule,
    /// How much is held and sent.
    pub limits: QueueLimits,
    /// Bounces for senders of one domain in an hour.
    pub bounces: NonZeroU32,
    /// After this time of failing the sender is told.
    pub delay_notice: Option<Duration>,
    /// So many messages in such a time to peers.
    pub rates: Vec<(Domain, NonZeroU32, Duration)>,
    /// So many mails in such a time to each domain.
    pub mail_rate: Option<(NonZeroU32, Duration)>,
    /// Whose postmaster speaks where neither sender nor recipient is ours.
    pub domain: Domain,
}

/// The parts the queue works with.
pub struct QueueParts {
    /// What is kept.
    pub store: Store,
    /// Judges what settling brings forth.
    pub intake: Intake,
    /// Who is subscribed to what.
    pub topics: Topics,
    /// The ways out.
    pub transports: Transports,
    /// What time it is.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Metrics,
    /// Messages offered before they are on disk.
    pub offers: mpsc::Receiver<Offer>,
    /// The place on the board.
    pub post: Post,
    /// What of the queue is this gateway's.
    pub share: Share,
}

/// The manager of a queue with these rules.
#[must_use]
pub fn manager(parts: QueueParts, rules: QueueRules) -> Manager {
    let clock = parts.clock;
    let carrier = carrier::Carrier {
        notices: notices::Notices::new(
            parts.intake.clone(),
            rules.domain,
            rules.bounces,
            clock.clone(),
        ),
        paces: pace::Paces::new(rules.rates, clock.clone()).with_mail(rules.mail_rate),
        store: parts.store,
        intake: parts.intake,
        transports: parts.transports,
        topics: parts.topics,
        share: parts.share,
        schedule: rules.schedule,
        delay_notice: rules.delay_notice,
        clock,
        metrics: parts.metrics,
    };
    Manager::new(carrier, rules.limits, parts.offers, parts.post)
}
