//! To agents of ours that are called: by webhook, as an A2A agent of others, or as the address that
//! stands for an agent of another domain. How one is called now is looked up for each attempt.

use super::a2a::A2aTransport;
use super::front::Fronts;
use super::webhook::WebhookTransport;
use super::{Carrying, Destination, Load, Parcel, Transport};
use crate::clock::Clock;
use crate::store::{DeliveryMode, Store};

/// Carries to agents of ours that are called. Cloning is cheap.
#[derive(Clone)]
pub struct LocalTransport {
    store: Store,
    webhook: WebhookTransport,
    a2a: A2aTransport,
    fronts: Fronts,
}

impl LocalTransport {
    /// A transport over these ways.
    #[must_use]
    pub fn new(store: Store, webhook: WebhookTransport, a2a: A2aTransport, clock: Clock) -> Self {
        Self {
            fronts: Fronts::new(store.clone(), clock),
            store,
            webhook,
            a2a,
        }
    }
}

impl Transport for LocalTransport {
    fn carry<'a>(&'a self, to: &'a Destination, parcels: Vec<Parcel>) -> Carrying<'a> {
        Box::pin(async move {
            let found = match to {
                Destination::Agent(number) => self.store.find_agent_by_number(*number).await,
                _ => Ok(None),
            };
            // What cannot be found out, or is not active, the webhook's way knows how to tell.
            let agent = found.ok().flatten().filter(|agent| agent.active);
            match agent {
                Some(agent) if agent.settings.delivery_mode == DeliveryMode::A2a => {
                    self.a2a.carry_all(&agent, &parcels).await
                }
                Some(agent) if agent.settings.delivery_mode == DeliveryMode::Peer => {
                    self.fronts.carry_all(&agent, &parcels).await
                }
                _ => self.webhook.carry(to, parcels).await,
            }
        })
    }

    fn load(&self, _to: &Destination) -> Load {
        Load::SINGLE
    }
}
