//! Where the mail of a domain is handed over, and what the connection must be like.
//!
//! - A domain of ours that has people too: its next hop. Else the smarthost, where there is one. Else
//!   the mail exchanges of the domain, the preferred ones first and those of one preference in random
//!   order, or the host of the domain's own name where it names none (RFC 5321, section 5.1).
//! - Where this host is a mail exchange of the domain itself, it and all that are no better are left
//!   out: mail would come back.
//! - A policy of the domain (MTA-STS, RFC 8461) says which hosts count, and that their certificates
//!   must be valid.

use uuid::Uuid;

use super::super::{Fault, Trouble};
use super::{Login, MailSettings};
use crate::config::{MailTls, SmarthostTls};
use crate::discovery::{Discovery, MailRoute, MtaSts, StsMode};
use crate::net::MailExchange;
use crate::protocol::{Domain, ErrorCode};
use crate::transport::text::trouble;

/// Mail exchanges of one domain that are tried in one attempt.
const MOST_HOSTS: usize = 6;

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protection {
    /// Not.
    None,
    /// With TLS where it is offered, whatever the certificate.
    Offered,
    /// With STARTTLS and a valid certificate.
    Demanded,
    /// With TLS from the first byte on and a valid certificate.
    Implicit,
}

/// A server that mail is handed to.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) protection: Protection,
    pub(super) login: Option<Login>,
}

/// What routes are found with.
pub(super) struct Routes<'a> {
    pub(super) settings: &'a MailSettings,
    pub(super) discovery: &'a Discovery,
    pub(super) policies: Option<&'a MtaSts>,
}

/// No way at all.
#[derive(Debug)]
pub(super) enum NoWay {
    /// For now.
    Later(Trouble),
    /// For good.
    Never(Trouble),
}

impl Routes<'_> {
    /// The servers to try, in order; at least one.
    pub(super) async fn stops(&self, domain: &Domain) -> Result<Vec<Stop>, NoWay> {
        let settings = self.settings;
        if settings.onward.contains(domain)
            && let Some(hop) = &settings.next_hop
        {
            return Ok(vec![Stop {
                host: hop.host.clone(),
                port: hop.port,
                protection: Protection::Offered,
                login: None,
            }]);
        }
        if let Some(smarthost) = &settings.smarthost {
            return Ok(vec![Stop {
                host: smarthost.host.clone(),
                port: smarthost.port,
                protection: match smarthost.tls {
                    SmarthostTls::Starttls => Protection::Demanded,
                    SmarthostTls::Implicit => Protection::Implicit,
                    SmarthostTls::None => Protection::None,
                },
                login: smarthost.login.clone(),
            }]);
        }
        let hosts = self.hosts(domain).await?;
        self.protected(domain, hosts).await
    }

    async fn hosts(&self, domain: &Domain) -> Result<Vec<String>, NoWay> {
        let route = self.discovery.mail_exchanges(domain).await;
        let route = route.map_err(|fault| {
            let words = format!("the mail exchanges of {domain} cannot be looked up: {fault}");
            let code = ErrorCode::RecipientUnavailable;
            NoWay::Later(trouble(code, Fault::Destination, &words))
        })?;
        let never = |code, words: &str| NoWay::Never(trouble(code, Fault::Message, words));
        match route {
            MailRoute::Implicit(host) => Ok(vec![host]),
            MailRoute::None => {
                let words = format!("{domain} takes no mail");
                Err(never(ErrorCode::RecipientNotFound, &words))
            }
            MailRoute::Exchanges(exchanges) => {
                let hosts = in_order(exchanges, self.settings.host.as_str());
                if hosts.is_empty() {
                    let words = format!("this host is itself the mail exchange of {domain}");
                    return Err(never(ErrorCode::LoopDetected, &words));
                }
                Ok(hosts)
            }
        }
    }

    /// The hosts that the domain's policy lets take its mail.
    async fn protected(&self, domain: &Domain, hosts: Vec<String>) -> Result<Vec<Stop>, NoWay> {
        let stop = |host, protection| Stop {
            host,
            port: self.settings.port,
            protection,
            login: None,
        };
        let all = |protection| move |host| stop(host, protection);
        let usual = match self.settings.tls {
            MailTls::Required => Protection::Demanded,
            MailTls::MtaSts | MailTls::Opportunistic => Protection::Offered,
        };
        let policy = match self.policies {
            Some(policies) => policies.find(domain).await,
            None => None,
        };
        let Some(policy) = policy.filter(|policy| policy.mode == StsMode::Enforce) else {
            return Ok(hosts.into_iter().map(all(usual)).collect());
        };
        let named: Vec<Stop> = hosts
            .into_iter()
            .filter(|host| policy.names(host))
            .map(all(Protection::Demanded))
            .collect();
        if named.is_empty() {
            let words = format!("the MTA-STS policy of {domain} names none of its mail exchanges");
            let code = ErrorCode::RecipientUnavailable;
            return Err(NoWay::Later(trouble(code, Fault::Destination, &words)));
        }
        Ok(named)
    }
}

/// The hosts to try, without those that lead back to us.
fn in_order(mut exchanges: Vec<MailExchange>, own: &str) -> Vec<String> {
    let ours = |one: &&MailExchange| one.host.eq_ignore_ascii_case(own);
    if let Some(best) = exchanges
        .iter()
        .filter(ours)
        .map(|one| one.preference)
        .min()
    {
        exchanges.retain(|one| one.preference < best);
    }
    exchanges.sort_by_cached_key(|one| (one.preference, Uuid::new_v4()));
    let mut hosts: Vec<String> = Vec::new();
    for one in exchanges {
        if !hosts.contains(&one.host) && hosts.len() < MOST_HOSTS {
            hosts.push(one.host);
        }
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchanges(list: &[(u16, &str)]) -> Vec<MailExchange> {
        let one = |(preference, host): &(u16, &str)| MailExchange {
            preference: *preference,
            host: (*host).to_owned(),
        };
        list.iter().map(one).collect()
    }

    #[test]
    fn the_preferred_come_first_and_none_leads_back() {
        let list = [
            (20, "b.test"),
            (10, "a.test"),
            (30, "c.test"),
            (10, "a.test"),
        ];
        assert_eq!(
            in_order(exchanges(&list), "us.test"),
            ["a.test", "b.test", "c.test"]
        );
        assert_eq!(in_order(exchanges(&list), "B.test"), ["a.test"]);
        assert!(in_order(exchanges(&list), "a.test").is_empty());
    }

    #[test]
    fn those_of_one_preference_take_turns() {
        let list = [(10, "a.test"), (10, "b.test"), (10, "c.test")];
        let first: std::collections::HashSet<String> = (0..200)
            .map(|_| in_order(exchanges(&list), "us.test").remove(0))
            .collect();
        assert_eq!(first.len(), 3);
        let many: Vec<(u16, String)> = (0..40).map(|n| (n, format!("mx{n}.test"))).collect();
        let many: Vec<(u16, &str)> = many.iter().map(|(n, host)| (*n, host.as_str())).collect();
        assert_eq!(in_order(exchanges(&many), "us.test").len(), MOST_HOSTS);
    }
}
