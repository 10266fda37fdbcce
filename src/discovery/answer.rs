//! What the DNS told us, as those who ask want to hear it.

use std::net::IpAddr;
use std::time::Duration;

use thiserror::Error;
use uuid::Uuid;

use crate::net::{DnsFault, MailExchange, Records};
use crate::protocol::{Advertisement, Timestamp};

/// Wrong records that are described, for each domain.
const MOST_DESCRIBED: usize = 8;
/// Characters of a wrong record that are shown.
const MOST_SHOWN: usize = 120;

/// An answer and how long it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<A = Answer> {
    /// What was answered.
    pub answer: A,
    /// When the answer's time is over.
    pub expires_at: Timestamp,
    /// How long the answer was good for when it came, within our bounds.
    pub ttl: Duration,
    /// Its time is over, but the DNS fails and nothing better is known.
    pub stale: bool,
}

/// What a domain says about its gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// At least one valid record. They are alternatives, in random order.
    Gateways(Vec<Advertisement>),
    /// For sure none that is valid.
    NoRecord {
        /// What is wrong with records that were meant to be one (those that begin with `v=amtp`).
        invalid: Vec<String>,
    },
}

/// Why there is no answer. Both pass with time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DiscoveryFault {
    /// The DNS fails: nobody knows.
    #[error("the DNS does not answer: {0}")]
    Dns(String),
    /// Too many questions are under way already.
    #[error("too many questions to the DNS are under way")]
    Busy,
}

/// Where a domain's mail goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailRoute {
    /// To these hosts, the first first.
    Exchanges(Vec<MailExchange>),
    /// To the host of the domain's own name.
    Implicit(String),
    /// Nowhere: the domain takes no mail (RFC 7505), or there is no such host.
    None,
}

impl Answer {
    /// What the TXT records of a name say together.
    pub(super) fn read(records: &[String]) -> Self {
        let mut gateways = Vec::new();
        let mut invalid = Vec::new();
        for record in records {
            match Advertisement::parse(record) {
                Ok(valid) if gateways.contains(&valid) => {}
                Ok(valid) => gateways.push(valid),
                Err(fault) if is_meant(record) && invalid.len() < MOST_DESCRIBED => {
                    invalid.push(format!("{fault}: {}", shown(record)));
                }
                Err(_) => {}
            }
        }
        if gateways.is_empty() {
            return Self::NoRecord { invalid };
        }
        gateways.sort_by_cached_key(|_| Uuid::new_v4());
        Self::Gateways(gateways)
    }
}

fn is_meant(record: &str) -> bool {
    let start = record.trim_start_matches([' ', '"']).get(..6);
    start.is_some_and(|start| start.eq_ignore_ascii_case("v=amtp"))
}

/// Fit for a terminal, whoever wrote the record.
fn shown(record: &str) -> String {
    let start = record.chars().take(MOST_SHOWN);
    start.flat_map(char::escape_debug).collect()
}

impl MailRoute {
    /// Nothing where the domain names no exchanges. A host without a name is none (RFC 7505).
    pub(super) fn by_exchanges(exchanges: &[MailExchange]) -> Option<Self> {
        if exchanges.is_empty() {
            return None;
        }
        let named = exchanges.iter().filter(|one| !one.host.is_empty());
        let named: Vec<MailExchange> = named.cloned().collect();
        Some(if named.is_empty() {
            Self::None
        } else {
            Self::Exchanges(named)
        })
    }
}

/// An answer as it comes from the DNS.
pub(super) struct Heard<A> {
    pub(super) answer: A,
    pub(super) ttl: Option<Duration>,
}

impl<A> Heard<A> {
    /// Reads a resolver's answer; `read` is given no records where there surely are none.
    pub(super) fn of<T>(
        answer: Result<Records<T>, DnsFault>,
        read: impl FnOnce(Vec<T>) -> A,
    ) -> Result<Self, String> {
        let (records, ttl) = match answer {
            Ok(found) => (found.records, Some(found.ttl)),
            Err(DnsFault::Nothing { ttl }) => (Vec::new(), ttl),
            Err(DnsFault::Failed(cause)) => return Err(cause),
        };
        Ok(Self {
            answer: read(records),
            ttl,
        })
    }
}

/// An answer that can be remembered.
pub(super) trait Knowledge: Clone + Send + Sync + 'static {
    /// Whether it says that there is nothing.
    fn is_nothing(&self) -> bool;
    /// About how many bytes of memory it takes.
    fn weight(&self) -> usize;
}

/// A text on the heap with what stands for it.
const TEXT: usize = 40;

impl Knowledge for Answer {
    fn is_nothing(&self) -> bool {
        matches!(self, Self::NoRecord { .. })
    }

    fn weight(&self) -> usize {
        let texts = |texts: &[String]| texts.iter().map(|text| text.len() + TEXT).sum::<usize>();
        match self {
            Self::NoRecord { invalid } => texts(invalid),
            Self::Gateways(all) => all
                .iter()
                .map(|one| one.gateway.as_str().len() + texts(&one.auth) + texts(&one.features))
                .map(|weight| weight + size_of::<Advertisement>())
                .sum(),
        }
    }
}

impl Knowledge for Vec<MailExchange> {
    fn is_nothing(&self) -> bool {
        self.is_empty()
    }

    fn weight(&self) -> usize {
        self.iter().map(|one| one.host.len() + TEXT).sum()
    }
}

impl Knowledge for Vec<IpAddr> {
    fn is_nothing(&self) -> bool {
        self.is_empty()
    }

    fn weight(&self) -> usize {
        self.len() * size_of::<IpAddr>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(records: &[&str]) -> Answer {
        let records: Vec<String> = records.iter().map(|&record| record.to_owned()).collect();
        Answer::read(&records)
    }

    #[test]
    fn only_records_meant_for_amtp_are_described() {
        let answer = read(&[
            "v=spf1 -all",
            "v=amtp1;gateway=http://g.example",
            "\"V=AMTP2;gateway=https://g.example\"",
            "v=amtp1;gateway=\u{1b}[31m",
            "",
        ]);
        let Answer::NoRecord { invalid } = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(invalid.len(), 3, "{invalid:?}");
        assert!(invalid[0].starts_with("the gateway is not an absolute https URL: v=amtp1;"));
        assert!(invalid[1].starts_with("the record does not say v=amtp1: "));
        assert!(!invalid[2].contains('\u{1b}'), "{}", invalid[2]);
    }

    #[test]
    fn a_record_that_stands_twice_counts_once_and_wrong_ones_do_not_matter_beside_it() {
        let valid = "v=amtp1;gateway=https://g.example";
        let same = "v=amtp1; gateway=https://G.example:443/";
        let answer = read(&[valid, same, "v=amtp1;gateway=ftp://x"]);
        assert_eq!(
            answer,
            Answer::Gateways(vec![Advertisement::parse(valid).unwrap()])
        );
    }

    #[test]
    fn every_alternative_comes_first_at_times() {
        let records: Vec<String> = (0..3)
            .map(|n| format!("v=amtp1;gateway=https://g{n}.example"))
            .collect();
        let mut firsts = std::collections::HashSet::new();
        for _ in 0..200 {
            let Answer::Gateways(all) = Answer::read(&records) else {
                panic!("all are valid");
            };
            assert_eq!(all.len(), 3);
            firsts.insert(all[0].gateway.host().to_owned());
        }
        assert_eq!(firsts.len(), 3);
    }

    #[test]
    fn mail_goes_to_the_hosts_that_have_a_name() {
        let to = |preference, host: &str| MailExchange {
            preference,
            host: host.to_owned(),
        };
        assert_eq!(MailRoute::by_exchanges(&[]), None);
        assert_eq!(MailRoute::by_exchanges(&[to(0, "")]), Some(MailRoute::None));
        assert_eq!(
            MailRoute::by_exchanges(&[to(0, ""), to(5, "mx.example")]),
            Some(MailRoute::Exchanges(vec![to(5, "mx.example")]))
        );
    }
}
