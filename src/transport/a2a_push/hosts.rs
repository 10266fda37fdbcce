//! How many requests are under way to each host, so that one that hangs does not take all the room.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Requests at a time to one host.
const MOST: usize = 4;
/// What has to wait comes again after this time for each that waits already, over what goes at a time.
const STEP: Duration = Duration::from_secs(1);
/// And after this time at the latest.
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct Host {
    under_way: usize,
    /// Sent away since it was last idle.
    sent_away: u32,
}

/// The hosts that are called at present. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub(super) struct Hosts(Arc<Mutex<HashMap<String, Host>>>);

/// A place among those that call a host, for as long as it lives.
#[derive(Debug)]
pub(super) struct Seat {
    hosts: Hosts,
    host: String,
}

impl Hosts {
    /// A place, or when to come again.
    pub(super) fn enter(&self, host: &str) -> Result<Seat, Duration> {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = hosts.entry(host.to_owned()).or_default();
        if found.under_way >= MOST {
            found.sent_away = found.sent_away.saturating_add(1);
            let rounds = found.sent_away / u32::try_from(MOST).unwrap_or(1);
            let wait = STEP.saturating_mul(rounds.saturating_add(1));
            return Err(wait.min(LONGEST));
        }
        found.under_way += 1;
        Ok(Seat {
            hosts: self.clone(),
            host: host.to_owned(),
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut hosts = self.hosts.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = hosts.get_mut(&self.host) {
            found.under_way -= 1;
            if found.under_way == 0 {
                hosts.remove(&self.host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_few_places_and_who_waits_is_spread_out() {
        let hosts = Hosts::default();
        let mut seats: Vec<Seat> = (0..MOST).map(|_| hosts.enter("one").unwrap()).collect();
        let wait = || hosts.enter("one").unwrap_err();
        let waits: Vec<u64> = (0..9).map(|_| wait().as_secs()).collect();
        assert_eq!(waits, [1, 1, 1, 2, 2, 2, 2, 3, 3]);
        for _ in 0..1_000 {
            assert!(wait() <= LONGEST);
        }
        hosts.enter("two").unwrap();
        seats.pop();
        seats.push(hosts.enter("one").unwrap());
        wait();
        drop(seats);
        assert!(hosts.0.lock().unwrap().is_empty());
    }
}
