//! Writes what came of deliveries, with the bounces and replies that brings forth.

use std::collections::HashMap;

use bytes::Bytes;

use super::{Carrier, Done};
use crate::envelope::Origin;
use crate::protocol::{Address, ErrorCode, Timestamp};
use crate::queue::notices::Telling;
use crate::queue::share::Hold;
use crate::queue::verdict::Verdict;
use crate::store::{
    Acceptance, Agent, AttemptNote, BounceFate, DeliveryMode, Ending, HeldKey, Marks, Reason,
    Settlement, shard_of,
};
use crate::transport::Destination;

impl Carrier {
    /// Writes what came of deliveries, with the messages that brings forth.
    pub(super) async fn settle(
        &self,
        (destination, agent): (&Destination, Option<&Agent>),
        hold: &Hold,
        done: Vec<Done>,
    ) -> Result<(), ()> {
        let done = self.still_ours(hold, done).await?;
        let goes_on = |it: &Done| matches!(it.verdict, Verdict::Moved { .. });
        let (moved, done): (Vec<Done>, Vec<Done>) = done.into_iter().partition(goes_on);
        let settled = self.settle_here((destination, agent), hold, done).await;
        let redirected = self.redirect(hold, moved).await;
        settled.and(redirected)
    }

    /// The same of what does not go on elsewhere.
    async fn settle_here(
        &self,
        (destination, agent): (&Destination, Option<&Agent>),
        hold: &Hold,
        mut done: Vec<Done>,
    ) -> Result<(), ()> {
        if done.is_empty() {
            return Ok(());
        }
        let mut follow_ups = Vec::new();
        let bounces = self.bounces(&done, &mut follow_ups).await;
        self.delays(&mut done, &mut follow_ups).await;
        let mut peer_replies = Vec::new();
        for it in &mut done {
            let Some(reply) = it.reply.take() else {
                continue;
            };
            match agent {
                Some(agent) if agent.settings.delivery_mode == DeliveryMode::Peer => {
                    let cause = (it.delivery.stored.as_ref(), &it.message);
                    follow_ups.extend(self.notices.brought_back(cause, &reply).await);
                }
                Some(agent) => {
                    let cause = (it.delivery.stored.as_ref(), &it.message);
                    let recipient = &it.delivery.recipient;
                    follow_ups.extend(self.notices.reply(agent, cause, recipient, &reply).await);
                }
                None => peer_replies.push((reply, it.attempt.clone())),
            }
        }
        let now = self.clock.now();
        if done.is_empty() {
            return Ok(());
        }
        // Before an answer that came with it ends the task.
        let delivered = done.iter().filter(|it| it.verdict == Verdict::Delivered);
        let handed_over = delivered.map(|it| it.delivery.stored.clone());
        let handed_over: Vec<_> = handed_over.filter(|it| it.origin == Origin::A2a).collect();
        let unreached = unreached(&done);
        let settlements = done
            .into_iter()
            .map(|it| {
                let held = hold.of(it.delivery.lane);
                let settlement = self.settlement(destination, it, now, &bounces);
                Settlement { held, ..settlement }
            })
            .collect();
        for message in &handed_over {
            self.intake.note_handed_over(message).await;
        }
        let late = follow_ups.iter().map(|it| self.intake.if_late(it));
        let late: Vec<_> = late.collect();
        let decisions = self.store.settle(settlements, follow_ups).await.map_err(
            |error| tracing::error!(%error, "deliveries could not be settled: they are looked at again"),
        )?;
        for (late, decision) in late.iter().zip(&decisions) {
            late.iter().for_each(|late| late.note(decision));
        }
        for (topic, subscriber) in unreached {
            if let Err(fault) = self.topics.note_failed(&topic, &subscriber).await {
                let error = fault.cause.unwrap_or_default();
                tracing::warn!(error, "a copy that failed could not be counted");
            }
        }
        for (reply, attempt) in peer_replies {
            self.take_reply(destination, reply, attempt).await;
        }
        Ok(())
    }

    /// What counts: that a delivery arrived, and all else of lanes that are still this gateway's.
    /// Of the others the gateway that has them makes its own judgement, and tells their senders.
    async fn still_ours(&self, hold: &Hold, mut done: Vec<Done>) -> Result<Vec<Done>, ()> {
        let doubtful = done.iter().filter(|it| it.verdict != Verdict::Delivered);
        let held: Vec<(u16, i64)> = doubtful
            .filter_map(|it| hold.of(it.delivery.lane))
            .collect();
        if held.is_empty() {
            return Ok(done);
        }
        let lost = self.store.lost_shards(&held).await.map_err(
            |error| tracing::error!(%error, "deliveries could not be settled: they are looked at again"),
        )?;
        done.retain(|it| {
            let shard = shard_of(it.delivery.lane);
            it.verdict == Verdict::Delivered || !lost.contains(&shard)
        });
        Ok(done)
    }

    /// One bounce for all recipients of a message that failed for one reason.
    async fn bounces(
        &self,
        done: &[Done],
        follow_ups: &mut Vec<Acceptance>,
    ) -> HashMap<i64, BounceFate> {
        let mut fates = HashMap::new();
        let mut told: Vec<(i64, ErrorCode)> = Vec::new();
        for it in done {
            let reason = match &it.verdict {
                Verdict::Failed(reason) => reason.clone(),
                Verdict::Expired => Reason {
                    code: ErrorCode::MessageExpired,
                    text: ErrorCode::MessageExpired.text().to_owned(),
                },
                _ => continue,
            };
            let mid = it.delivery.stored.mid;
            if told.contains(&(mid, reason.code)) {
                continue;
            }
            told.push((mid, reason.code));
            let same: Vec<&Done> = done
                .iter()
                .filter(|other| {
                    other.delivery.stored.mid == mid && other.code() == Some(reason.code)
                })
                .collect();
            let telling = Telling {
                stored: &it.delivery.stored,
                message: &it.message,
                recipients: same
                    .iter()
                    .map(|it| it.delivery.recipient.clone())
                    .collect(),
                reason: &reason,
                attempts: it.attempts(),
            };
            let (fate, acceptance) = self.notices.bounce(&telling).await;
            self.metrics.queue().bounced(fate.as_str(), 1);
            follow_ups.extend(acceptance);
            fates.extend(same.iter().map(|it| (it.delivery.seq, fate)));
        }
        fates
    }

    /// Tells senders whose messages are late, once, where the operator wants it.
    async fn delays(&self, done: &mut [Done], follow_ups: &mut Vec<Acceptance>) {
        let Some(after) = self.delay_notice else {
            return;
        };
        for it in done {
            let attempts = it.attempts();
            let Verdict::Deferred { reason, marks, .. } = &mut it.verdict else {
                continue;
            };
            let late = self.clock.now().since(it.delivery.stored.accepted_at) >= after;
            if marks.notified || !late {
                continue;
            }
            marks.notified = true;
            let telling = Telling {
                stored: &it.delivery.stored,
                message: &it.message,
                recipients: vec![it.delivery.recipient.clone()],
                reason,
                attempts,
            };
            follow_ups.extend(self.notices.delay(&telling).await);
        }
    }

    fn settlement(
        &self,
        destination: &Destination,
        it: Done,
        now: Timestamp,
        bounces: &HashMap<i64, BounceFate>,
    ) -> Settlement {
        let class = destination.class();
        self.metrics.queue().settled(it.verdict.as_str(), class);
        if it.verdict == Verdict::Delivered {
            let age = now.since(it.delivery.stored.accepted_at);
            self.metrics.queue().delivered_after(class, age);
        }
        let held = || HeldKey::of(&it.delivery.stored, &it.message, &it.delivery.recipient);
        let fate = match it.verdict {
            Verdict::Delivered => Ending::Delivered,
            Verdict::Expired => Ending::Expired { held: held() },
            Verdict::Failed(reason) => Ending::Failed {
                held: held(),
                bounce: bounces
                    .get(&it.delivery.seq)
                    .copied()
                    .unwrap_or(BounceFate::None),
                reason,
            },
            Verdict::Deferred {
                due_at,
                reason,
                marks,
            } => Ending::Deferred {
                due_at,
                reason,
                marks,
            },
            // It goes on by another verb.
            Verdict::Moved { at, reason, .. } => Ending::Deferred {
                due_at: at,
                reason,
                marks: Marks::default(),
            },
        };
        Settlement {
            seq: it.delivery.seq,
            mid: it.delivery.stored.mid,
            recipient: it.delivery.recipient.to_string(),
            at: now,
            held: None,
            attempt: it.attempt,
            fate,
        }
    }

    /// What a peer answered at once enters as mail of that peer.
    async fn take_reply(&self, from: &Destination, raw: Bytes, attempt: Option<AttemptNote>) {
        let remote = attempt
            .and_then(|note| note.remote)
            .and_then(|remote| remote.parse::<std::net::SocketAddr>().ok());
        let Some(remote) = remote else {
            return;
        };
        let taken = self
            .intake
            .accept_answer(from.domain(), remote.ip(), raw)
            .await;
        if let Err(refusal) = taken {
            tracing::info!(
                destination = %from,
                error.code = refusal.code.as_str(),
                "what a peer answered at once is not taken"
            );
        }
    }
}

/// The topics whose copies failed for good, with their subscribers.
fn unreached(done: &[Done]) -> Vec<(Address, Address)> {
    let copies = done.iter().filter(|it| {
        it.delivery.stored.origin == Origin::List && matches!(it.verdict, Verdict::Failed(_))
    });
    copies
        .map(|it| (it.message.sender().clone(), it.delivery.recipient.clone()))
        .collect()
}
