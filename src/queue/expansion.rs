//! What is sent to a topic goes nowhere: its delivery is the making of the copies.

use crate::intake::Refusal;
use crate::protocol::ErrorCode;
use crate::topics::Topics;
use crate::transport::{
    Attempted, Carrying, Destination, Fault, Load, Outcome, Parcel, Transport, Trouble,
};

/// Carries what is sent to topics. Cloning is cheap.
#[derive(Clone)]
pub struct Expansion(Topics);

impl Expansion {
    /// Copies go to those who subscribed to these topics.
    #[must_use]
    pub const fn new(topics: Topics) -> Self {
        Self(topics)
    }

    async fn expand(&self, to: &Destination, parcel: &Parcel) -> Vec<Attempted> {
        let mut attempted = Vec::with_capacity(parcel.copies.len());
        let message = (parcel.stored.as_ref(), &parcel.message);
        for copy in &parcel.copies {
            let carried = match to {
                Destination::List(number) => self.0.carry(*number, message, &copy.recipient).await,
                _ => Err(Refusal::new(ErrorCode::InternalError)),
            };
            attempted.push(Attempted {
                outcome: carried.map_or_else(outcome, |()| Outcome::Delivered { reply: None }),
                remote: None,
                renew: false,
            });
        }
        attempted
    }
}

/// What the store could not do it can do later; all else is so for good.
fn outcome(refusal: Refusal) -> Outcome {
    let text = refusal.message.as_deref().unwrap_or(refusal.code.text());
    let trouble = Trouble {
        code: refusal.code,
        text: text.to_owned(),
        fault: Fault::Message,
        retry_after: refusal.retry_after,
    };
    match refusal.code {
        ErrorCode::TemporaryFailure | ErrorCode::RateLimitExceeded | ErrorCode::InternalError => {
            tracing::warn!(
                error = refusal.cause.unwrap_or_default(),
                "the copies of a publication are not all made yet"
            );
            Outcome::Deferred(trouble)
        }
        _ => Outcome::Failed(trouble),
    }
}

impl Transport for Expansion {
    fn carry<'a>(&'a self, to: &'a Destination, parcels: Vec<Parcel>) -> Carrying<'a> {
        Box::pin(async move {
            let mut all = Vec::with_capacity(parcels.len());
            for parcel in &parcels {
                all.push(self.expand(to, parcel).await);
            }
            all
        })
    }

    fn load(&self, _to: &Destination) -> Load {
        Load::SINGLE
    }
}
