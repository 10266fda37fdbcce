//! When to ask whether the other side lives, and when it is taken for dead. Pure.
//!
//! Who is silent for a heartbeat is pinged; who is silent for two is dead. While nothing is read
//! from it, because it sends faster than we can take, its silence does not count.

use std::time::Duration;

/// The signs of life of one connection, by the monotonic clock.
#[derive(Debug)]
pub(crate) struct Pulse {
    heartbeat: Duration,
    heard: Duration,
    pinged: Duration,
    pings: u32,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beat {
    /// Nothing.
    Rest,
    /// Send a ping.
    Ping,
    /// Nobody is there.
    Dead,
}

/// So many pings of the other side are answered in one heartbeat.
const MOST_PINGS: u32 = 1_000;

impl Pulse {
    pub(crate) const fn new(heartbeat: Duration, now: Duration) -> Self {
        Self {
            heartbeat,
            heard: now,
            pinged: now,
            pings: 0,
        }
    }

    /// Something came, or nothing was read.
    pub(crate) fn heard(&mut self, now: Duration) {
        self.heard = self.heard.max(now);
    }

    /// A ping came; whether it is one too many.
    pub(crate) const fn is_one_too_many(&mut self) -> bool {
        self.pings += 1;
        self.pings > MOST_PINGS
    }

    /// When to look again.
    pub(crate) fn due(&self) -> Duration {
        let ping = self.pinged.max(self.heard) + self.heartbeat;
        ping.min(self.heard + 2 * self.heartbeat)
    }

    /// What is to be done at this time.
    pub(crate) fn beat(&mut self, now: Duration) -> Beat {
        if now >= self.heard + 2 * self.heartbeat {
            return Beat::Dead;
        }
        if now < self.due() {
            return Beat::Rest;
        }
        self.pinged = now;
        self.pings = 0;
        Beat::Ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_silent_side_is_pinged_after_one_heartbeat_and_dead_after_two() {
        let mut pulse = Pulse::new(at(30), at(100));
        let table = [
            (100, Beat::Rest),
            (129, Beat::Rest),
            (130, Beat::Ping),
            (131, Beat::Rest),
            (159, Beat::Rest),
            (160, Beat::Dead),
        ];
        for (now, expected) in table {
            assert_eq!(pulse.beat(at(now)), expected, "{now}");
        }
    }

    #[test]
    fn a_sign_of_life_begins_it_anew() {
        let mut pulse = Pulse::new(at(30), at(0));
        assert_eq!(pulse.beat(at(30)), Beat::Ping);
        pulse.heard(at(31));
        assert_eq!(pulse.due(), at(61));
        assert_eq!(pulse.beat(at(60)), Beat::Rest);
        assert_eq!(pulse.beat(at(61)), Beat::Ping);
        assert_eq!(pulse.due(), at(91));
        assert_eq!(pulse.beat(at(91)), Beat::Dead);
    }

    #[test]
    fn pings_are_counted_by_the_heartbeat() {
        let mut pulse = Pulse::new(at(30), at(0));
        let many = |pulse: &mut Pulse| (0..MOST_PINGS).any(|_| pulse.is_one_too_many());
        assert!(!many(&mut pulse));
        assert!(pulse.is_one_too_many());
        assert_eq!(pulse.beat(at(30)), Beat::Ping);
        assert!(!many(&mut pulse));
    }
}
