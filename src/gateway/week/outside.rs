//! The gateways and webhooks of others: what they answer depends on their name and the hour.
//!
//! - `*.well.test` and webhooks take everything; a webhook answers what asks for a reply.
//! - `later.test` is down for the first three of every six hours.
//! - `slow.test` takes a message at the third attempt, under another identity.
//! - `refusing.test` takes nothing, `*.gone.test` is never there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use uuid::Uuid;

use crate::clock::Clock;
use crate::protocol::{Domain, ErrorCode, IdempotencyKey, MessageId};
use crate::store::{Store, WireIdentity};
use crate::transport::{
    Attempted, Carrying, Copy, Destination, Fault, Load, Outcome, Parcel, Transport, Trouble,
};

/// All of them.
#[derive(Clone)]
pub(super) struct Outside {
    clock: Clock,
    store: Store,
    /// How often each message arrived, by its id here.
    arrived: Arc<Mutex<HashMap<String, u32>>>,
}

impl Outside {
    pub(super) fn new(store: Store, clock: Clock) -> Self {
        Self {
            clock,
            store,
            arrived: Arc::default(),
        }
    }

    /// How often a message arrived; it is not asked for again.
    pub(super) fn take(&self, id: &str) -> u32 {
        self.arrived.lock().unwrap().remove(id).unwrap_or(0)
    }

    /// Whether it cannot be asked of the queue that all is delivered there now. It may have asked
    /// shortly before an end, and then waits a while.
    pub(super) fn may_be_down(&self, destination: &str) -> bool {
        self.is_down(destination, 4)
    }

    /// Whether it is down in this hour; `later.test` is in so many of six.
    fn is_down(&self, destination: &str, hours: i64) -> bool {
        let hour = self.clock.now().as_millis() / 3_600_000;
        destination.ends_with("gone.test") || destination == "domain:later.test" && hour % 6 < hours
    }

    async fn answer(&self, to: &Destination, parcel: &Parcel, copy: &Copy) -> Attempted {
        let id = parcel.stored.message_id.as_str();
        let domain = to.domain().map_or("", Domain::as_str);
        let trouble = |code, fault| Trouble {
            code,
            text: "as it is".to_owned(),
            fault,
            retry_after: None,
        };
        let away = ErrorCode::RecipientUnavailable;
        let outcome = match domain {
            _ if self.is_down(&to.to_string(), 3) => {
                Outcome::Deferred(trouble(away, Fault::Destination))
            }
            "refusing.test" => Outcome::Failed(trouble(away, Fault::Message)),
            "slow.test" if copy.attempts < 2 => Outcome::Deferred(trouble(away, Fault::Message)),
            _ => {
                *self
                    .arrived
                    .lock()
                    .unwrap()
                    .entry(id.to_owned())
                    .or_default() += 1;
                let asks = parcel.message.header("x-amtp-reply-requested").is_some();
                let reply = asks.then(|| Bytes::from_static(br#"{"answer":42}"#));
                Outcome::Delivered { reply }
            }
        };
        if copy.renew {
            self.rename(parcel, copy).await;
        }
        Attempted {
            renew: domain == "slow.test" && copy.attempts == 0,
            outcome,
            remote: Some("192.0.2.1:443".to_owned()),
        }
    }

    async fn rename(&self, parcel: &Parcel, copy: &Copy) {
        let fresh = || Uuid::new_v4().to_string();
        let wire = WireIdentity {
            id: MessageId::parse(&fresh()).unwrap(),
            key: IdempotencyKey::parse(&fresh()).unwrap(),
            recipients: 1,
        };
        let from = vec![(copy.seq, copy.wire.as_ref().map(|wire| wire.id.clone()))];
        let named = self.store.assign_identity((parcel.stored.mid, from), wire);
        named.await.unwrap();
    }
}

impl Transport for Outside {
    fn carry<'a>(&'a self, to: &'a Destination, parcels: Vec<Parcel>) -> Carrying<'a> {
        Box::pin(async move {
            let mut all = Vec::new();
            for parcel in &parcels {
                let mut each = Vec::new();
                for copy in &parcel.copies {
                    each.push(self.answer(to, parcel, copy).await);
                }
                all.push(each);
            }
            all
        })
    }

    fn load(&self, _to: &Destination) -> Load {
        Load {
            messages: 10,
            bytes: 1_000_000,
        }
    }
}
