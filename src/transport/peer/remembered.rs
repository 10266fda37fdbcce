//! What was learnt of domains, for a while and not on disk.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::protocol::Domain;

/// More domains are not remembered at once.
const MOST: usize = 10_000;

/// A set of domains; each leaves it after the same span.
#[derive(Debug)]
pub(super) struct Remembered {
    span: Duration,
    until: Mutex<HashMap<Domain, Duration>>,
}

impl Remembered {
    /// Remembers nothing yet.
    pub(super) fn for_span(span: Duration) -> Self {
        Self {
            span,
            until: Mutex::default(),
        }
    }

    /// Remembers a domain from now on. `now` is a clock's monotonic time, here and below.
    pub(super) fn note(&self, domain: &Domain, now: Duration) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.len() >= MOST {
            until.retain(|_, end| *end > now);
        }
        if until.len() >= MOST
            && let Some(any) = until.keys().next().cloned()
        {
            until.remove(&any);
        }
        until.insert(domain.clone(), now + self.span);
    }

    /// Whether the domain is remembered.
    pub(super) fn holds(&self, domain: &Domain, now: Duration) -> bool {
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.get(domain).is_some_and(|end| *end > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_remembered_for_its_span_and_room_is_bounded() {
        let domain = |n: usize| Domain::parse(&format!("d{n}.test")).unwrap();
        let at = Duration::from_secs;
        let set = Remembered::for_span(at(10));
        set.note(&domain(0), at(5));
        assert!(set.holds(&domain(0), at(14)) && !set.holds(&domain(1), at(14)));
        assert!(!set.holds(&domain(0), at(15)));
        for n in 1..=MOST + 5 {
            set.note(&domain(n), at(6));
        }
        assert_eq!(set.until.lock().unwrap().len(), MOST);
        assert!(set.holds(&domain(MOST + 5), at(6)));
        set.note(&domain(0), at(100));
        assert_eq!(set.until.lock().unwrap().len(), 1);
    }
}
