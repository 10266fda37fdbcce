//! Where a peer's gateways are, and which of them take what.

use std::time::Duration;

use super::super::{Fault, Parcel, Trouble};
use super::answer::Verdict;
use super::letter::Memory;
use super::text;
use crate::protocol::{Advertisement, Domain, ErrorCode, Timestamp};

/// So long a domain that once had a gateway is not believed to have none any more.
const KNOWN: Duration = Duration::from_secs(30 * 86_400);
/// So long a message waits for the record of such a domain to come back.
const PATIENCE: Duration = Duration::from_secs(86_400);

/// The gateways of a domain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route<'a> {
    /// Whom they serve.
    pub(super) domain: &'a Domain,
    /// Alternatives, in the order they are tried; at least one.
    pub(super) gateways: &'a [Advertisement],
}

impl<'a> Route<'a> {
    /// The gateways that take a message of this size.
    ///
    /// # Errors
    /// None does: the message can never be delivered.
    pub(super) fn fitting(&self, bytes: usize) -> Result<Vec<&'a Advertisement>, Trouble> {
        let fits = |gateway: &&Advertisement| {
            u64::try_from(bytes).is_ok_and(|bytes| bytes <= gateway.max_size)
        };
        let fitting: Vec<_> = self.gateways.iter().filter(fits).collect();
        if fitting.is_empty() {
            let words = format!(
                "the message has {bytes} bytes, {} takes up to {}",
                self.domain,
                self.max_size()
            );
            return Err(text::trouble(
                ErrorCode::MessageTooLarge,
                Fault::Message,
                &words,
            ));
        }
        Ok(fitting)
    }

    /// The gateways that take batches of any messages that are taken at all.
    pub(super) fn batching(&self) -> Vec<&'a Advertisement> {
        let largest = self.max_size();
        let batches =
            |gateway: &&Advertisement| gateway.max_size == largest && gateway.has_feature("batch");
        self.gateways.iter().filter(batches).collect()
    }

    /// How the gateways tell requests apart. Any of them may be asked.
    pub(super) fn memory(&self) -> Memory {
        let multi = |gateway: &Advertisement| gateway.has_feature("multi-recipient");
        if self.gateways.iter().all(multi) {
            Memory::OfRecipients
        } else {
            Memory::OfSets
        }
    }

    fn max_size(&self) -> u64 {
        let sizes = self.gateways.iter().map(|gateway| gateway.max_size);
        sizes.max().unwrap_or(0)
    }
}

/// A domain without a valid record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NoRoute {
    /// What the DNS says.
    pub(super) words: String,
    /// When it last had a valid one.
    pub(super) seen: Option<Timestamp>,
}

impl NoRoute {
    /// What that means for a parcel: it waits, or fails for good.
    pub(super) fn verdict(&self, parcel: &Parcel, now: Timestamp) -> Verdict {
        let was_known = self.seen.is_some_and(|seen| now.since(seen) <= KNOWN);
        let is_young = now.since(parcel.stored.accepted_at) < PATIENCE;
        if was_known && is_young {
            let words = format!("{}; there was one before, so it may come back", self.words);
            let code = ErrorCode::RecipientUnavailable;
            Verdict::Deferred(text::trouble(code, Fault::Destination, &words))
        } else {
            let code = ErrorCode::RecipientNotFound;
            Verdict::Failed(text::trouble(code, Fault::Destination, &self.words))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{NOW, parcel};
    use super::*;

    fn gateways(records: &[&str]) -> Vec<Advertisement> {
        let parse = |record: &&str| {
            Advertisement::parse(&format!("v=amtp1;gateway=https://g.test;{record}")).unwrap()
        };
        records.iter().map(parse).collect()
    }

    #[test]
    fn alternatives_are_used_for_what_they_take() {
        let domain = Domain::parse("b.test").unwrap();
        let gateways = gateways(&[
            "max-size=10;features=batch,multi-recipient",
            "max-size=100;features=batch",
            "max-size=100;features=multi-recipient",
        ]);
        let route = |gateways| Route {
            domain: &domain,
            gateways,
        };
        let sizes = [
            (1, Some(3)),
            (10, Some(3)),
            (11, Some(2)),
            (100, Some(2)),
            (101, None),
        ];
        for (bytes, count) in sizes {
            let fitting = route(&gateways).fitting(bytes).ok();
            assert_eq!(fitting.map(|found| found.len()), count, "{bytes}");
        }
        let trouble = route(&gateways).fitting(101).unwrap_err();
        assert_eq!(trouble.code, ErrorCode::MessageTooLarge);
        assert_eq!(
            trouble.text,
            "the message has 101 bytes, b.test takes up to 100"
        );
        assert_eq!(route(&gateways).batching(), [&gateways[1]]);
        assert_eq!(route(&gateways).memory(), Memory::OfSets);
        assert_eq!(route(&gateways[..1]).memory(), Memory::OfRecipients);
    }

    #[test]
    fn a_domain_that_lost_its_record_is_waited_for() {
        const DAY: Duration = Duration::from_secs(86_400);
        let parcel = parcel(&["bob@b.test"], "");
        let table = [
            (None, Duration::ZERO, false),
            (Some(Duration::ZERO), Duration::ZERO, true),
            (Some(30 * DAY), Duration::ZERO, true),
            (Some(31 * DAY), Duration::ZERO, false),
            (Some(DAY), DAY - Duration::from_millis(1), true),
            (Some(DAY), DAY, false),
        ];
        for (since_seen, age, waits) in table {
            let now = NOW.plus(age);
            let none = NoRoute {
                words: "b.test has no _amtp record".to_owned(),
                seen: since_seen.map(|since| now.minus(since)),
            };
            match none.verdict(&parcel, now) {
                Verdict::Deferred(trouble) => {
                    assert!(waits, "{since_seen:?} {age:?}");
                    assert_eq!(trouble.fault, Fault::Destination);
                }
                Verdict::Failed(trouble) => {
                    assert!(!waits, "{since_seen:?} {age:?}");
                    assert_eq!(trouble.code, ErrorCode::RecipientNotFound);
                    assert_eq!(trouble.text, "b.test has no _amtp record");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
