//! How many new names strangers may make us ask the DNS for.
//!
//! What is known already costs nothing. Of names that are not, one client may bring five a second; a
//! name that is being asked for on its behalf counts once, however many of its requests need it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::clock::{Clock, Ticks};
use crate::net::network_of;

/// Names a second that one client may make us ask the DNS for.
const NEW_NAMES: NonZeroU32 = NonZeroU32::new(5).expect("not zero");

type Limiter = RateLimiter<IpAddr, DashMapStateStore<IpAddr>, Ticks, NoOpMiddleware<Nanos>>;
/// How many requests of a client wait for a name. As many entries as requests under way at most.
type Asking = HashMap<(IpAddr, String), usize>;

/// The bound. Cloning is cheap; all clones count together.
#[derive(Clone)]
pub(super) struct NewNames {
    limiter: Arc<Limiter>,
    asking: Arc<Mutex<Asking>>,
}

/// The leave to ask for a name, until it is dropped.
pub(super) struct Leave {
    names: NewNames,
    key: (IpAddr, String),
}

impl NewNames {
    pub(super) fn new(clock: Clock) -> Self {
        let quota = Quota::per_second(NEW_NAMES);
        Self {
            limiter: Arc::new(Limiter::dashmap_with_clock(quota, Ticks::of(clock))),
            asking: Arc::default(),
        }
    }

    /// Whether a name that is not known may be asked for on behalf of this client.
    pub(super) fn ask(&self, client: IpAddr, name: &str) -> Option<Leave> {
        let key = (network_of(client), name.to_owned());
        let mut asking = self.lock();
        let waiting = asking.get(&key).copied().unwrap_or(0);
        if waiting == 0 && self.limiter.check_key(&key.0).is_err() {
            return None;
        }
        asking.insert(key.clone(), waiting + 1);
        drop(asking);
        Some(Leave {
            names: self.clone(),
            key,
        })
    }

    /// Forgets clients that were quiet.
    pub(super) fn forget_quiet(&self) {
        self.limiter.retain_recent();
    }

    fn lock(&self) -> MutexGuard<'_, Asking> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        let mut asking = self.names.lock();
        match asking.get_mut(&self.key) {
            Some(waiting) if *waiting > 1 => *waiting -= 1,
            _ => {
                asking.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TestClock;
    use crate::protocol::Timestamp;
    use std::time::Duration;

    #[test]
    fn a_client_brings_five_new_names_a_second_however_many_requests_ask_for_one() {
        let test = TestClock::at(Timestamp::from_millis(0));
        let names = NewNames::new(Clock::over(test.clone()));
        let client = |n: u64| IpAddr::from((0x2001_0db8_u128 << 96 | u128::from(n)).to_be_bytes());
        let same: Vec<_> = (0..100).map(|n| names.ask(client(n), "a")).collect();
        assert!(same.iter().all(Option::is_some), "one name of one network");
        let more: Vec<_> = (0..6)
            .map(|n| names.ask(client(1), &format!("b{n}")).is_some())
            .collect();
        assert_eq!(more, [true, true, true, true, false, false]);
        assert!(names.ask(client(1), "a").is_some(), "it is being asked for");
        assert!(names.ask([192, 0, 2, 1].into(), "c").is_some());
        drop(same);
        assert!(names.lock().is_empty());
        assert!(names.ask(client(1), "a").is_none(), "now it is another one");
        test.advance(Duration::from_secs(1));
        names.forget_quiet();
        assert!(names.ask(client(1), "a").is_some());
    }
}
