//! The DNS as real servers answer it.
//!
//! - Every question is put to one server after the other, two rounds at most, beginning with the
//!   server that answered last. A server that does not answer in time or says that it failed never
//!   hides one that knows.
//! - UDP first, TCP where the answer did not fit. Names are asked as they are: no search list.
//! - Nothing is remembered here; who asks keeps the answers.
//! - The hosts file counts for addresses only, and only where the system's resolvers are used. It is
//!   read once, and a host named in it is not asked for in the DNS.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Hosts, TokioResolver, system_conf};
use thiserror::Error;

use super::{Asked, DnsFault, MailExchange, Records, Resolver, Texts};
use crate::clock::Clock;

/// How often each server is asked.
const ROUNDS: usize = 2;
/// TXT records that are looked at.
const MOST_TEXTS: usize = 32;
/// Bytes of one TXT record; a longer one is passed over.
const LONGEST_TEXT: usize = 4_096;
const MOST_EXCHANGES: usize = 32;
const MOST_ADDRESSES: usize = 16;
const MOST_NAMES: usize = 8;
/// How long an address in digits is its own answer.
const DAY: Duration = Duration::from_secs(86_400);

/// Asks DNS servers.
pub struct HickoryResolver {
    /// One client for each server.
    servers: Vec<TokioResolver>,
    /// The server that answered last.
    preferred: AtomicUsize,
    hosts: Hosts,
    timeout: Duration,
    /// Servers answer in the world's time, whatever clock the rest of the process goes by.
    clock: Clock,
}

/// Why the DNS cannot be asked at all.
#[derive(Debug, Error)]
pub enum DnsSetupFault {
    /// The system does not say which servers to ask.
    #[error("the system's DNS servers are not known: {0}")]
    System(String),
    /// A client for a server cannot be made.
    #[error("cannot ask the DNS server {server}: {cause}")]
    Server {
        /// The server's address.
        server: IpAddr,
        /// What is wrong.
        cause: String,
    },
}

impl HickoryResolver {
    /// A resolver that asks these servers, or the system's where none is given. A server that is
    /// silent for `timeout` is passed over; a question takes twice that for each server at most.
    ///
    /// # Errors
    /// The system's servers are to be asked and `/etc/resolv.conf` cannot be read or names none.
    pub fn new(servers: &[SocketAddr], timeout: Duration) -> Result<Self, DnsSetupFault> {
        let (servers, hosts) = if servers.is_empty() {
            let hosts = Hosts::from_system().unwrap_or_default();
            (system_servers()?, hosts)
        } else {
            (servers.iter().map(server).collect(), Hosts::default())
        };
        let clients = servers.into_iter().map(|server| client(server, timeout));
        Ok(Self {
            servers: clients.collect::<Result<_, _>>()?,
            preferred: AtomicUsize::new(0),
            hosts,
            timeout,
            clock: Clock::system(),
        })
    }

    /// The same without the hosts file: what the world is told of a host.
    #[must_use]
    pub fn without_hosts(self) -> Self {
        Self {
            hosts: Hosts::default(),
            ..self
        }
    }

    /// The TXT records of a name with their strings apart, whatever their length and encoding.
    ///
    /// # Errors
    /// As [`Resolver::txt`].
    pub async fn texts(&self, name: &str) -> Result<Texts, DnsFault> {
        let answer = self.look_up(&qualified(name)?, RecordType::TXT).await?;
        let found = read(&answer, RecordType::TXT, MOST_TEXTS, strings)?;
        Ok(Texts {
            records: found.records,
            ttl: found.ttl,
            authoritative: answer.message().metadata.authoritative,
        })
    }

    /// The names of an address (PTR).
    ///
    /// # Errors
    /// As [`Resolver::txt`].
    pub async fn names_of(&self, address: IpAddr) -> Result<Vec<String>, DnsFault> {
        let mut name = Name::from(address);
        name.set_fqdn(true);
        let answer = self.look_up(&name, RecordType::PTR).await?;
        Ok(read(&answer, RecordType::PTR, MOST_NAMES, pointed)?.records)
    }

    async fn look_up(&self, name: &Name, kind: RecordType) -> Result<Lookup, DnsFault> {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut failed = DnsFault::Failed("no server to ask".to_owned());
        for turn in 0..ROUNDS * self.servers.len() {
            let index = (first + turn) % self.servers.len();
            match self.ask_one(&self.servers[index], name, kind).await {
                Err(fault @ DnsFault::Failed(_)) => failed = fault,
                answer => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return answer;
                }
            }
        }
        Err(failed)
    }

    async fn ask_one(
        &self,
        server: &TokioResolver,
        name: &Name,
        kind: RecordType,
    ) -> Result<Lookup, DnsFault> {
        let asked = server.lookup(name.clone(), kind);
        match self.clock.within(self.timeout, asked).await {
            Some(answer) => answer.map_err(fault),
            None => Err(DnsFault::Failed(format!(
                "{kind} {name}: no answer within {:?}",
                self.timeout
            ))),
        }
    }

    async fn ask_txt(&self, name: &str) -> Result<Records<String>, DnsFault> {
        let answer = self.look_up(&qualified(name)?, RecordType::TXT).await?;
        read(&answer, RecordType::TXT, MOST_TEXTS, text)
    }

    async fn ask_mx(&self, name: &str) -> Result<Records<MailExchange>, DnsFault> {
        let answer = self.look_up(&qualified(name)?, RecordType::MX).await?;
        let mut found = read(&answer, RecordType::MX, usize::MAX, exchange)?;
        found.records.sort_by_key(|exchange| exchange.preference);
        found.records.truncate(MOST_EXCHANGES);
        Ok(found)
    }

    async fn ask_addresses(&self, host: &str) -> Result<Records<IpAddr>, DnsFault> {
        if let Ok(address) = host.parse() {
            return Ok(Records {
                records: vec![address],
                ttl: DAY,
            });
        }
        let name = qualified(host)?;
        if let Some(found) = self.in_hosts_file(&name) {
            return Ok(found);
        }
        let (v6, v4) = tokio::join!(
            self.look_up(&name, RecordType::AAAA),
            self.look_up(&name, RecordType::A)
        );
        let v6 = v6.and_then(|answer| read(&answer, RecordType::AAAA, MOST_ADDRESSES, address));
        let v4 = v4.and_then(|answer| read(&answer, RecordType::A, MOST_ADDRESSES, address));
        both(v6, v4)
    }

    fn in_hosts_file(&self, name: &Name) -> Option<Records<IpAddr>> {
        let of = |kind| {
            let found = self
                .hosts
                .lookup_static_host(&Query::query(name.clone(), kind))
                .ok_or(DnsFault::Nothing { ttl: None })?;
            read(&found, kind, MOST_ADDRESSES, address)
        };
        both(of(RecordType::AAAA), of(RecordType::A)).ok()
    }
}

impl Resolver for HickoryResolver {
    fn txt<'a>(&'a self, name: &'a str) -> Asked<'a, String> {
        Box::pin(self.ask_txt(name))
    }

    fn mx<'a>(&'a self, name: &'a str) -> Asked<'a, MailExchange> {
        Box::pin(self.ask_mx(name))
    }

    fn addresses<'a>(&'a self, host: &'a str) -> Asked<'a, IpAddr> {
        Box::pin(self.ask_addresses(host))
    }
}

pub(super) fn server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.to_vec())
}

pub(super) fn system_servers() -> Result<Vec<NameServerConfig>, DnsSetupFault> {
    let (config, _) = system_conf::read_system_conf()
        .map_err(|error| DnsSetupFault::System(error.to_string()))?;
    Ok(config.name_servers().to_vec())
}

fn client(server: NameServerConfig, timeout: Duration) -> Result<TokioResolver, DnsSetupFault> {
    let address = server.ip;
    let config = ResolverConfig::from_parts(None, vec![], vec![server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    set(builder.options_mut(), timeout);
    builder.build().map_err(|error| DnsSetupFault::Server {
        server: address,
        cause: error.to_string(),
    })
}

fn set(options: &mut ResolverOpts, timeout: Duration) {
    options.timeout = timeout;
    // Asking again, and whom, is decided here.
    options.attempts = 0;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.edns0 = true;
    // Over one TCP connection: as many as ever are under way at once, and some.
    options.max_active_requests = 256;
}

/// The name with its final dot. What cannot be asked for cannot exist either.
fn qualified(name: &str) -> Result<Name, DnsFault> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let asked = Name::from_ascii(format!("{name}."));
    asked
        .ok()
        .filter(|name| !name.is_root())
        .ok_or(DnsFault::Nothing { ttl: None })
}

fn fault(error: NetError) -> DnsFault {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) if !is_referral(&none) => DnsFault::Nothing {
            ttl: none.negative_ttl.map(|ttl| Duration::from_secs(ttl.into())),
        },
        error => DnsFault::Failed(error.to_string()),
    }
}

/// A server that only names other servers has not answered (RFC 2308, section 2.2).
fn is_referral(none: &NoRecords) -> bool {
    none.response_code == ResponseCode::NoError && none.ns.is_some() && none.soa.is_none()
}

/// The first `most` records of a kind, those that `one` can read.
fn read<T>(
    answer: &Lookup,
    kind: RecordType,
    most: usize,
    one: impl Fn(&RData) -> Option<T>,
) -> Result<Records<T>, DnsFault> {
    // With the aliases on the way: an answer is as short-lived as its shortest-lived part.
    let ttl = answer.answers().iter().map(|record| record.ttl).min();
    let ttl = Duration::from_secs(ttl.unwrap_or_default().into());
    let of_kind = answer.answers().iter();
    let of_kind = of_kind.filter(|record| record.record_type() == kind);
    let records: Vec<T> = of_kind
        .take(most)
        .filter_map(|record| one(&record.data))
        .collect();
    if records.is_empty() {
        return Err(DnsFault::Nothing { ttl: Some(ttl) });
    }
    Ok(Records { records, ttl })
}

fn text(data: &RData) -> Option<String> {
    let RData::TXT(text) = data else { return None };
    let length: usize = text.txt_data.iter().map(|part| part.len()).sum();
    if length > LONGEST_TEXT {
        return None;
    }
    String::from_utf8(text.txt_data.concat()).ok()
}

fn strings(data: &RData) -> Option<Vec<Vec<u8>>> {
    let RData::TXT(text) = data else { return None };
    Some(text.txt_data.iter().map(|part| part.to_vec()).collect())
}

fn exchange(data: &RData) -> Option<MailExchange> {
    let RData::MX(exchange) = data else {
        return None;
    };
    let host = exchange.exchange.to_ascii().to_ascii_lowercase();
    Some(MailExchange {
        preference: exchange.preference,
        host: host.strip_suffix('.').unwrap_or(&host).to_owned(),
    })
}

fn pointed(data: &RData) -> Option<String> {
    let RData::PTR(name) = data else {
        return None;
    };
    let name = name.0.to_ascii();
    Some(name.strip_suffix('.').unwrap_or(&name).to_owned())
}

fn address(data: &RData) -> Option<IpAddr> {
    data.ip_addr()
}

/// The addresses of both versions. One version that nobody knows about does no harm where the other
/// has addresses, but leaves it open whether there are any where it has none.
fn both(
    v6: Result<Records<IpAddr>, DnsFault>,
    v4: Result<Records<IpAddr>, DnsFault>,
) -> Result<Records<IpAddr>, DnsFault> {
    match (v6, v4) {
        (Ok(v6), Ok(v4)) => Ok(Records {
            ttl: v6.ttl.min(v4.ttl),
            records: in_turn(v6.records, v4.records),
        }),
        (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(found),
        (Err(failed @ DnsFault::Failed(_)), Err(_))
        | (Err(_), Err(failed @ DnsFault::Failed(_))) => Err(failed),
        (Err(DnsFault::Nothing { ttl: v6 }), Err(DnsFault::Nothing { ttl: v4 })) => {
            let ttl = v6.into_iter().chain(v4).min();
            Err(DnsFault::Nothing { ttl })
        }
    }
}

fn in_turn(v6: Vec<IpAddr>, v4: Vec<IpAddr>) -> Vec<IpAddr> {
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    let mut all = Vec::with_capacity(MOST_ADDRESSES);
    while all.len() < MOST_ADDRESSES {
        let before = all.len();
        all.extend(v6.next());
        all.extend(v4.next());
        if all.len() == before {
            break;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &str) -> Vec<IpAddr> {
        list.split_whitespace()
            .map(|one| one.parse().unwrap())
            .collect()
    }

    fn found(list: &str, seconds: u64) -> Result<Records<IpAddr>, DnsFault> {
        Ok(Records {
            records: addresses(list),
            ttl: Duration::from_secs(seconds),
        })
    }

    fn nothing(seconds: Option<u64>) -> Result<Records<IpAddr>, DnsFault> {
        Err(DnsFault::Nothing {
            ttl: seconds.map(Duration::from_secs),
        })
    }

    fn failed() -> Result<Records<IpAddr>, DnsFault> {
        Err(DnsFault::Failed("SERVFAIL".to_owned()))
    }

    #[test]
    fn versions_are_put_together_by_what_is_known_of_each() {
        for (v6, v4, together) in [
            (
                found("2001:db8::1", 60),
                found("192.0.2.1 192.0.2.2", 50),
                found("2001:db8::1 192.0.2.1 192.0.2.2", 50),
            ),
            (failed(), found("192.0.2.1", 9), found("192.0.2.1", 9)),
            (
                found("2001:db8::1", 9),
                nothing(None),
                found("2001:db8::1", 9),
            ),
            (failed(), nothing(Some(5)), failed()),
            (nothing(Some(5)), failed(), failed()),
            (nothing(Some(5)), nothing(Some(7)), nothing(Some(5))),
            (nothing(None), nothing(Some(7)), nothing(Some(7))),
            (nothing(None), nothing(None), nothing(None)),
        ] {
            assert_eq!(both(v6, v4), together);
        }
    }

    #[test]
    fn sixteen_addresses_at_most_take_turns() {
        let v6 = vec!["2001:db8::1".parse().unwrap(); 16];
        let v4 = vec!["192.0.2.1".parse().unwrap(); 16];
        let all = in_turn(v6, v4);
        assert_eq!(all.len(), 16);
        assert!(
            all.chunks(2)
                .all(|two| two[0].is_ipv6() && two[1].is_ipv4())
        );
    }

    #[test]
    fn what_is_no_name_is_not_asked_for() {
        let long = format!("_amtp.{}", vec!["a".repeat(62); 4].join("."));
        let label = format!("{}.example", "a".repeat(64));
        for name in ["", ".", "a..b", long.as_str(), label.as_str()] {
            assert_eq!(
                qualified(name),
                Err(DnsFault::Nothing { ttl: None }),
                "{name}"
            );
        }
        for name in ["a.example", "a.example.", "_amtp.a.example"] {
            let asked = qualified(name).unwrap().to_ascii();
            assert_eq!(asked, format!("{}.", name.trim_end_matches('.')));
        }
    }

    #[test]
    fn the_systems_servers_are_asked_where_none_is_given() {
        match HickoryResolver::new(&[], Duration::from_secs(1)) {
            Ok(resolver) => assert!(!resolver.servers.is_empty()),
            Err(fault) => assert!(matches!(fault, DnsSetupFault::System(_)), "{fault}"),
        }
    }
}
