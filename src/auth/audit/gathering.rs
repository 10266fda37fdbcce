//! What strangers bring about, gathered: the first of a kind is told at once, the others of the
//! next minute as one with their number.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use super::Event;
use crate::net::network_of;

/// Kinds that are told apart in a minute; the rest goes together.
const KINDS: usize = 1_000;

type Kind = (String, Option<IpAddr>);

#[derive(Debug, Default)]
pub(super) struct Gathering(Mutex<HashMap<Kind, Option<Event>>>);

impl Gathering {
    /// The event, if it is the first of its kind; else it is counted.
    pub(super) fn first(&self, event: Event) -> Option<Event> {
        let mut kinds = self.lock();
        let mut kind = (event.event.clone(), event.remote.map(network_of));
        if kinds.len() >= KINDS && !kinds.contains_key(&kind) {
            kind.1 = None;
        }
        match kinds.get_mut(&kind) {
            None => {
                kinds.insert(kind, None);
                Some(event)
            }
            Some(gathered) => {
                let count = gathered.as_ref().and_then(|it| it.count).unwrap_or(0) + 1;
                *gathered = Some(Event {
                    count: Some(count),
                    ..event
                });
                None
            }
        }
    }

    /// What was counted since the last time.
    pub(super) fn take(&self) -> Vec<Event> {
        let gathered = std::mem::take(&mut *self.lock());
        gathered.into_values().flatten().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Kind, Option<Event>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
