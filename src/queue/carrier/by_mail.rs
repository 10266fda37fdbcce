//! From a domain's gateway to its mail (AMTP 1.0, sections 3.2 and 11).
//!
//! A delivery goes on as mail where the bridge is on, its policy allows it, the domain takes mail, and
//! one of these happened: the domain has no gateway; its gateway does not know the recipient, so that
//! people may live there; or the gateway was tried for as long as it may be. Nothing else goes.

use std::time::Duration;

use super::{Carrier, Done, End};
use crate::protocol::{Domain, ErrorCode, Timestamp};
use crate::queue::share::Hold;
use crate::queue::verdict::Verdict;
use crate::store::{Marks, Redirection};
use crate::transport::{Destination, MailTransport};

/// Where nobody knows whether a domain takes mail it is asked again after this time.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// No longer than this after a delivery was given up.
const PATIENCE: Duration = Duration::from_secs(86_400);

impl Carrier {
    /// Lets deliveries that failed at a gateway go on as mail, where that may be.
    pub(super) async fn try_mail(&self, destination: &Destination, done: &mut [Done]) {
        let (Some(mail), Destination::Peer(domain)) = (&self.transports.mail, destination) else {
            return;
        };
        let mut takes = None;
        // What goes through an address of ours is for an agent there, and for nobody's mail.
        let is_there = |it: &Done| it.delivery.recipient.domain() == domain;
        let failed = done
            .iter_mut()
            .filter(|it| is_there(it) && might_be_mailed(it));
        for it in failed {
            let takes = match &takes {
                Some(known) => known,
                None => takes.insert(self.asked(mail, domain).await),
            };
            match takes {
                Takes::No => return,
                Takes::Unknown => self.ask_later(it),
                Takes::Yes => self.move_on(domain, it),
            }
        }
    }

    async fn asked(&self, mail: &MailTransport, domain: &Domain) -> Takes {
        match mail.takes(domain).await {
            Ok(true) => Takes::Yes,
            Ok(false) => Takes::No,
            Err(fault) => {
                tracing::info!(mail.domain = %domain, error = %fault, "whether a domain takes mail is not known");
                Takes::Unknown
            }
        }
    }

    fn move_on(&self, domain: &Domain, it: &mut Done) {
        let Verdict::Failed(reason) = &it.verdict else {
            return;
        };
        let stored = &it.delivery.stored;
        if !self
            .intake
            .may_be_mailed(stored, &it.message, &it.delivery.recipient)
        {
            return;
        }
        it.verdict = Verdict::Moved {
            to: Destination::Mail(domain.clone()),
            at: self.clock.now(),
            reason: reason.clone(),
        };
    }

    /// Waits for an answer about the domain, but not for ever.
    fn ask_later(&self, it: &mut Done) {
        let now = self.clock.now();
        let Verdict::Failed(reason) = &it.verdict else {
            return;
        };
        if now.since(it.delivery.give_up_at) >= PATIENCE {
            return;
        }
        it.verdict = Verdict::Deferred {
            due_at: now.plus(ASK_AGAIN),
            reason: reason.clone(),
            marks: Marks {
                loose: it.delivery.loose,
                destination_fault: true,
                renew: it.delivery.renew,
                notified: it.delivery.notified,
            },
        };
    }

    /// Writes that deliveries go on elsewhere.
    pub(super) async fn redirect(&self, hold: &Hold, moved: Vec<Done>) -> Result<(), ()> {
        let redirections: Vec<Redirection> = moved
            .into_iter()
            .filter_map(|it| self.redirection(hold, it))
            .collect();
        if redirections.is_empty() {
            return Ok(());
        }
        match self.store.redirect(redirections).await {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::error!(%error, "deliveries could not go on as mail: they are looked at again");
                Err(())
            }
        }
    }

    fn redirection(&self, hold: &Hold, it: Done) -> Option<Redirection> {
        let give_up_at = self.until(&it);
        let held = hold.of(it.delivery.lane);
        let Verdict::Moved { to, at, reason } = it.verdict else {
            return None;
        };
        self.metrics.queue().settled("moved", "peer");
        tracing::info!(
            message.id = it.delivery.stored.message_id.as_str(),
            message.recipient = %it.delivery.recipient,
            delivery.destination = %to,
            error.code = reason.code.as_str(),
            "a delivery goes on as mail"
        );
        Some(Redirection {
            seq: it.delivery.seq,
            held,
            at,
            attempt: it.attempt,
            reason,
            destination: to.to_string(),
            give_up_at,
        })
    }

    /// Until when it is tried as mail: what is exhausted gets a time of its own.
    fn until(&self, it: &Done) -> Timestamp {
        let until = match it.end {
            End::Told => it.delivery.give_up_at,
            End::Exhausted => self.clock.now().plus(self.schedule.give_up),
        };
        let expires = it.message.expires();
        expires.map_or(until, |expires| expires.min(until))
    }
}

/// Whether a domain takes mail.
enum Takes {
    Yes,
    No,
    Unknown,
}

/// Whether mail may reach whom the gateway does not.
fn might_be_mailed(it: &Done) -> bool {
    let Verdict::Failed(reason) = &it.verdict else {
        return false;
    };
    // Nobody was asked: the domain has no gateway.
    let unasked = it.attempt.as_ref().is_none_or(|note| note.remote.is_none());
    it.end == End::Exhausted
        || reason.code == ErrorCode::AgentUnknown
        || (reason.code == ErrorCode::RecipientNotFound && unasked)
}
