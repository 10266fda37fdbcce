//! Messages that a settlement brings forth: bounces, notices of delay, replies of webhooks.
//!
//! - A bounce never bounces, an automatic reply is never answered, and both count a hop.
//! - Who cannot be believed is not told: a forged sender would get the notice.
//! - Bounces are limited by the hour and the sender's domain, replies by the minute and the pair
//!   of agent and sender.

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use uuid::Uuid;

use crate::clock::{Clock, Ticks};
use crate::envelope::{Origin, Trust};
use crate::intake::{Intake, Made};
use crate::protocol::{
    Address, Bounce, BounceKind, Domain, Heading, IdempotencyKey, Message, MessageId,
};
use crate::store::{Acceptance, Agent, BounceFate, Reason, StoredMessage};
use crate::transport::webhook;

const HOUR: Duration = Duration::from_secs(3_600);
/// Replies a minute of one agent to one sender.
const REPLIES: NonZeroU32 = NonZeroU32::new(10).expect("not zero");

type Limiter = RateLimiter<String, DashMapStateStore<String>, Ticks, NoOpMiddleware<Nanos>>;

/// Makes notices.
pub(super) struct Notices {
    intake: Intake,
    clock: Clock,
    /// Our first domain: whose postmaster speaks where no recipient is ours.
    domain: Domain,
    bounces: Limiter,
    replies: Limiter,
}

/// What a notice tells.
pub(super) struct Telling<'a> {
    pub(super) stored: &'a StoredMessage,
    pub(super) message: &'a Message,
    pub(super) recipients: Vec<Address>,
    pub(super) reason: &'a Reason,
    pub(super) attempts: u32,
}

impl Notices {
    pub(super) fn new(intake: Intake, domain: Domain, bounces: NonZeroU32, clock: Clock) -> Self {
        let each = (HOUR / bounces.get()).max(Duration::from_nanos(1));
        let quota = Quota::with_period(each)
            .expect("a nanosecond at least")
            .allow_burst(bounces);
        Self {
            intake,
            domain,
            bounces: Limiter::dashmap_with_clock(quota, Ticks::of(clock.clone())),
            replies: Limiter::dashmap_with_clock(
                Quota::per_minute(REPLIES),
                Ticks::of(clock.clone()),
            ),
            clock,
        }
    }

    /// The notice of a failure to the sender, where one is due.
    pub(super) async fn bounce(&self, telling: &Telling<'_>) -> (BounceFate, Option<Acceptance>) {
        let stored = telling.stored;
        // Of copies the gateway itself takes note.
        let is_ours = matches!(stored.origin, Origin::Bounce | Origin::List);
        if is_ours || telling.message.is_bounce() {
            return (BounceFate::None, None);
        }
        let sender = telling.message.sender();
        let limited = || {
            self.bounces
                .check_key(&sender.domain().to_string())
                .is_err()
        };
        // A task is told by us alone, and always: its client waits for it.
        let is_task = stored.origin == Origin::A2a;
        if !is_task && (stored.trust == Trust::Unverified || limited()) {
            return (BounceFate::Suppressed, None);
        }
        match self.notice(telling, BounceKind::Failure).await {
            Some(acceptance) => (BounceFate::Sent, Some(acceptance)),
            None => (BounceFate::Suppressed, None),
        }
    }

    /// The notice that a delivery takes long.
    pub(super) async fn delay(&self, telling: &Telling<'_>) -> Option<Acceptance> {
        let is_ours = matches!(
            telling.stored.origin,
            Origin::Bounce | Origin::List | Origin::A2a
        );
        let is_notice = is_ours || telling.message.is_bounce();
        if is_notice || telling.stored.trust == Trust::Unverified {
            return None;
        }
        self.notice(telling, BounceKind::Delay).await
    }

    async fn notice(&self, telling: &Telling<'_>, kind: BounceKind) -> Option<Acceptance> {
        let postmaster = self.postmaster(telling);
        let bounce = Bounce {
            original_message_id: telling.stored.message_id.clone(),
            failed_recipients: telling.recipients.clone(),
            error_code: telling.reason.code.as_str().to_owned(),
            error_message: telling.reason.text.clone(),
            retry_count: telling.attempts.saturating_sub(1),
            final_attempt: Some(self.clock.now()),
        };
        let (id, key) = self.fresh();
        let raw = bounce.message(
            kind,
            &Heading {
                message_id: &id,
                idempotency_key: &key,
                timestamp: self.clock.now(),
                sender: &postmaster,
                recipient: telling.message.sender(),
                hops: telling.message.hops() + 1,
            },
        );
        self.judge(raw, Origin::Bounce, telling.stored).await
    }

    /// The reply that a webhook's answer becomes, where it becomes one.
    pub(super) async fn reply(
        &self,
        agent: &Agent,
        (stored, message): (&StoredMessage, &Message),
        recipient: &Address,
        payload: &Bytes,
    ) -> Option<Acceptance> {
        if !webhook::may_reply(agent.settings.replies, stored, message) {
            return None;
        }
        let pair = format!("{} {}", agent.id, stored.sender);
        if self.replies.check_key(&pair).is_err() {
            tracing::warn!(
                message.id = stored.message_id.as_str(),
                agent.address = %agent.address,
                "too many replies to one sender: this one is not sent"
            );
            return None;
        }
        let (id, key) = self.fresh();
        let raw = webhook::reply_message(
            (&id, &key, self.clock.now()),
            (stored, message),
            recipient,
            payload,
        );
        self.judge(raw, Origin::Reply, stored).await
    }

    /// What came back for an address that stands for an agent of another domain, to whoever asked.
    pub(super) async fn brought_back(
        &self,
        (stored, message): (&StoredMessage, &Message),
        raw: &Bytes,
    ) -> Option<Acceptance> {
        let origin = match message.is_bounce() {
            true => Origin::Bounce,
            false => Origin::Reply,
        };
        self.judge(raw.to_vec(), origin, stored).await
    }

    /// Forgets who has been quiet.
    pub(super) fn tidy(&self) {
        self.bounces.retain_recent();
        self.replies.retain_recent();
    }

    /// Senders and pairs that are remembered.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.bounces.len() + self.replies.len()
    }

    async fn judge(
        &self,
        raw: Vec<u8>,
        origin: Origin,
        cause: &StoredMessage,
    ) -> Option<Acceptance> {
        let made = Made {
            raw: raw.into(),
            origin,
            request_id: cause.notes.request_id.clone(),
        };
        match self.intake.judge_made(made).await {
            Ok(acceptance) => Some(acceptance),
            Err(refusal) => {
                tracing::warn!(
                    message.id = cause.message_id.as_str(),
                    message.origin = <&'static str>::from(origin),
                    error.code = refusal.code.as_str(),
                    "a message that was to follow cannot go where it is to go"
                );
                None
            }
        }
    }

    fn postmaster(&self, telling: &Telling<'_>) -> Address {
        let ours = |address: &&Address| self.intake.is_local(address.domain());
        let sender = telling.message.sender();
        let domain = [sender]
            .into_iter()
            .chain(&telling.recipients)
            .find(ours)
            .map_or(&self.domain, Address::domain);
        Address::parse(&format!("postmaster@{domain}")).expect("a name at a domain")
    }

    fn fresh(&self) -> (MessageId, IdempotencyKey) {
        let id = MessageId::parse(&self.clock.mint_v7().to_string());
        let key = IdempotencyKey::parse(&Uuid::new_v4().to_string());
        (
            id.expect("a UUID is a valid id"),
            key.expect("a UUID is a valid key"),
        )
    }
}
