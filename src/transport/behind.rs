//! Order within one dispatch that carries several messages.

use super::{Copy, Fault, Outcome, Parcel, Trouble};
use crate::protocol::Address;

/// What later parcels wait behind, so that no message overtakes an earlier one between the same two.
#[derive(Default)]
pub(super) struct Behind(Vec<(Option<(String, Address)>, Trouble)>);

impl Behind {
    /// What this copy comes to without being tried, where something stands before it.
    pub(super) fn what(&self, parcel: &Parcel, copy: &Copy) -> Option<Outcome> {
        let concerns = |pair: &Option<(String, Address)>| {
            pair.as_ref().is_none_or(|(sender, recipient)| {
                *sender == parcel.stored.sender && *recipient == copy.recipient
            })
        };
        let (pair, trouble) = self.0.iter().find(|(pair, _)| concerns(pair))?;
        Some(match pair {
            Some(_) => Outcome::Waits,
            None => Outcome::Deferred(trouble.clone()),
        })
    }

    pub(super) fn note(&mut self, parcel: &Parcel, copy: &Copy, outcome: &Outcome) {
        if let Outcome::Deferred(trouble) = outcome {
            let pair = match trouble.fault {
                Fault::Destination => None,
                Fault::Message => Some((parcel.stored.sender.clone(), copy.recipient.clone())),
            };
            self.0.push((pair, trouble.clone()));
        }
    }
}
