//! The ways out, one for each kind of destination.

use std::sync::Arc;

use crate::protocol::ErrorCode;
use crate::telemetry::Standings;
use crate::transport::{
    Attempted, Carrying, Copy, Destination, Fault, Load, MailTransport, Outcome, Parcel, Transport,
    Trouble,
};

/// What carries to each kind of destination.
#[derive(Clone)]
pub struct Transports {
    /// To other gateways.
    pub peer: Arc<dyn Transport>,
    /// To webhooks.
    pub webhook: Arc<dyn Transport>,
    /// To those who subscribed to a topic.
    pub list: Arc<dyn Transport>,
    /// To members of groups.
    pub group: Arc<dyn Transport>,
    /// To people, where that is on.
    pub mail: Option<Arc<MailTransport>>,
    /// How members of groups do.
    pub standings: Standings,
}

impl Transports {
    /// The one for a destination.
    #[must_use]
    pub fn of(&self, destination: &Destination) -> &dyn Transport {
        match destination {
            Destination::Peer(_) => self.peer.as_ref(),
            Destination::Agent(_) => self.webhook.as_ref(),
            Destination::List(_) => self.list.as_ref(),
            Destination::Group(_) => self.group.as_ref(),
            Destination::Mail(_) => match &self.mail {
                Some(mail) => mail.as_ref(),
                None => &Off,
            },
        }
    }
}

/// Mail that was queued before the bridge was switched off waits for it.
struct Off;

impl Transport for Off {
    fn carry<'a>(&'a self, _to: &'a Destination, parcels: Vec<Parcel>) -> Carrying<'a> {
        let waits = |_: &Copy| Attempted {
            outcome: Outcome::Deferred(Trouble {
                code: ErrorCode::RecipientUnavailable,
                text: "the bridge to mail is switched off".to_owned(),
                fault: Fault::Destination,
                retry_after: None,
            }),
            remote: None,
            renew: false,
        };
        let all = parcels
            .iter()
            .map(|it| it.copies.iter().map(waits).collect());
        let all = all.collect();
        Box::pin(async move { all })
    }

    fn load(&self, _to: &Destination) -> Load {
        Load::SINGLE
    }
}
