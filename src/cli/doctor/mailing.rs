//! What others ask of mail to a domain (MTA-STS), and what they look at when we send some: the reverse
//! name of our host, and the keys that check our signatures.

use std::net::IpAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;

use super::Tools;
use super::report::{Check, Report};
use crate::cli::bridge::dkim_records;
use crate::config::{Bridging, Config};
use crate::discovery::{StsMode, StsPolicy, sts_id};
use crate::net::{
    AnswerLimits, DnsFault, FileFault, GuardOptions, GuardedClient, MailExchange, Plain, Records,
    Resolver as _, Texts, Times, TlsVersions,
};
use crate::protocol::Domain;

const STS: &str = "mta-sts";
const REVERSE: &str = "reverse";
const DKIM: &str = "dkim";
/// The largest policy that is read.
const LARGEST: usize = 64 * 1024;
/// Addresses of one host that are looked at.
const MOST_ADDRESSES: usize = 4;

/// Looks at the policy of a domain, and at what a bridge of this configuration needs.
pub(super) async fn look(
    tools: &Tools,
    domain: &Domain,
    config: Option<&Config>,
    report: &mut Report,
) -> Result<(), FileFault> {
    let exchanges = tools.resolver.mx(domain.as_str()).await;
    report.add(policy(tools, domain, &exchanges).await?);
    let bridging = config.and_then(|config| config.bridge.as_ref());
    if let Some(bridging) = bridging {
        reverse(tools, &bridging.bridge.host, report).await;
        keys(tools, domain, bridging, report).await;
    }
    Ok(())
}

async fn policy(
    tools: &Tools,
    domain: &Domain,
    exchanges: &Result<Records<MailExchange>, DnsFault>,
) -> Result<Check, FileFault> {
    let name = format!("_mta-sts.{domain}");
    let records = match tools.resolver.txt(&name).await {
        Ok(found) => found.records,
        Err(DnsFault::Nothing { .. }) => Vec::new(),
        Err(fault) => return Ok(Check::warning(STS, format!("{name}: {fault}"), "try again")),
    };
    let meant = |record: &&String| record.trim_start().starts_with("v=STSv1");
    if records.iter().find(meant).is_none() {
        let text = format!("{domain} has no MTA-STS policy: mail to it may be read on its way");
        return Ok(Check::ok(STS, text));
    }
    if sts_id(&records).is_none() {
        let text = format!("{name} is no valid record, or there are several");
        return Ok(Check::fault(STS, text, "publish one: v=STSv1; id=20260101"));
    }
    let url = format!("https://mta-sts.{domain}/.well-known/mta-sts.txt");
    let fetched = fetch(tools, &url).await?;
    Ok(match fetched {
        Err(cause) => {
            let fix = "serve the policy there, with a certificate for that host";
            Check::fault(STS, format!("{url}: {cause}"), fix)
        }
        Ok(text) => judge_policy(&url, StsPolicy::parse(&text), exchanges),
    })
}

fn judge_policy(
    url: &str,
    policy: Option<StsPolicy>,
    exchanges: &Result<Records<MailExchange>, DnsFault>,
) -> Check {
    let Some(policy) = policy else {
        let fix = "write it as RFC 8461 says: version, mode, mx, max_age";
        return Check::fault(STS, format!("{url} is no policy"), fix);
    };
    let hosts = exchanges.as_ref().map(|found| &found.records[..]);
    let unnamed: Vec<&str> = hosts
        .unwrap_or_default()
        .iter()
        .map(|one| one.host.as_str())
        .filter(|host| !policy.names(host))
        .collect();
    match policy.mode {
        StsMode::None => Check::ok(STS, format!("{url}: there is none any more")),
        _ if unnamed.is_empty() => Check::ok(STS, format!("{url} names every mail exchange")),
        StsMode::Testing => {
            let text = format!("{url} does not name {}", unnamed.join(", "));
            Check::warning(STS, text, "name every mail exchange before you enforce it")
        }
        StsMode::Enforce => {
            let text = format!(
                "{url} does not name {}: no mail goes there",
                unnamed.join(", ")
            );
            Check::fault(STS, text, "name every mail exchange in the policy")
        }
    }
}

async fn fetch(tools: &Tools, url: &str) -> Result<Result<String, String>, FileFault> {
    let client = GuardedClient::new(GuardOptions {
        resolver: tools.resolver.clone(),
        filter: tools.filter.clone(),
        trusted_ca_files: tools.ca_files.clone(),
        client_identity: None,
        tls: TlsVersions::From12,
        plain: Plain::Refused,
        times: Times::default(),
        clock: tools.clock.clone(),
    })?;
    let request = Request::get(url).body(Full::new(Bytes::new()));
    let Ok(request) = request else {
        return Ok(Err("is no URL".to_owned()));
    };
    let limits = AnswerLimits {
        size: LARGEST,
        time: tools.time,
    };
    Ok(match client.send(request, limits).await {
        Ok(answer) if answer.status.as_u16() == 200 => {
            Ok(String::from_utf8_lossy(&answer.body).into_owned())
        }
        Ok(answer) => Err(format!("answers {}", answer.status.as_u16())),
        Err(fault) => Err(fault.to_string()),
    })
}

/// Whether the addresses of our host have its name.
async fn reverse(tools: &Tools, host: &Domain, report: &mut Report) {
    let addresses = match tools.resolver.addresses(host.as_str()).await {
        Ok(found) => found.records,
        Err(fault) => {
            let text = format!("{host} has no address: {fault}");
            let fix = "publish its addresses, or set bridge.host to a name that has some";
            return report.add(Check::fault(REVERSE, text, fix));
        }
    };
    for address in addresses.into_iter().take(MOST_ADDRESSES) {
        let names = tools.resolver.names_of(address).await;
        report.add(judge_reverse(host, address, names));
    }
}

fn judge_reverse(host: &Domain, address: IpAddr, names: Result<Vec<String>, DnsFault>) -> Check {
    let fix = format!("let whoever gave you {address} set its reverse name (PTR) to {host}");
    match names {
        Ok(names)
            if names
                .iter()
                .any(|name| name.eq_ignore_ascii_case(host.as_str())) =>
        {
            Check::ok(REVERSE, format!("{address} is {host}"))
        }
        Ok(names) => {
            let text = format!("{address} is {}, and not {host}", names.join(", "));
            Check::warning(REVERSE, text, fix)
        }
        Err(DnsFault::Nothing { .. }) => {
            let text = format!("{address} has no name: many mail servers refuse its mail");
            Check::fault(REVERSE, text, fix)
        }
        Err(fault) => Check::warning(REVERSE, format!("{address}: {fault}"), fix),
    }
}

/// Whether the keys that sign our mail are those of the DNS.
async fn keys(tools: &Tools, domain: &Domain, bridging: &Bridging, report: &mut Report) {
    for (selector, expected) in dkim_records(bridging).unwrap_or_default() {
        let name = format!("{selector}._domainkey.{domain}");
        let found = tools.resolver.texts(&name).await;
        report.add(judge_key(&name, &expected, &found));
    }
}

fn judge_key(name: &str, expected: &str, found: &Result<Texts, DnsFault>) -> Check {
    let fix = format!("publish in DNS: {name}. TXT \"{expected}\"");
    let texts = match found {
        Ok(texts) => texts,
        Err(fault) => return Check::fault(DKIM, format!("{name}: {fault}"), fix),
    };
    let key = |record: &str| -> Option<String> {
        let mut tags = record.split(';').filter_map(|tag| tag.split_once('='));
        let (_, key) = tags.find(|(name, _)| name.trim() == "p")?;
        Some(key.split_ascii_whitespace().collect())
    };
    let is_ours = |strings: &Vec<Vec<u8>>| {
        let record = String::from_utf8_lossy(&strings.concat()).into_owned();
        key(&record).is_some() && key(&record) == key(expected)
    };
    match texts.records.iter().any(is_ours) {
        true => Check::ok(DKIM, format!("{name} is the key that signs our mail")),
        false => Check::fault(
            DKIM,
            format!("{name} is not the key that signs our mail"),
            fix,
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::doctor::report::Grade;

    fn exchanges(hosts: &[&str]) -> Result<Records<MailExchange>, DnsFault> {
        let one = |host: &&str| MailExchange {
            preference: 10,
            host: (*host).to_owned(),
        };
        Ok(Records {
            records: hosts.iter().map(one).collect(),
            ttl: Duration::from_secs(60),
        })
    }

    #[test]
    fn a_policy_has_to_name_every_mail_exchange() {
        let policy = |mode: &str| {
            let text = format!("version: STSv1\nmode: {mode}\nmx: mx.a.test\nmax_age: 60");
            StsPolicy::parse(&text)
        };
        for (mode, hosts, grade) in [
            ("enforce", &["mx.a.test"][..], Grade::Ok),
            ("enforce", &["mx.a.test", "mx.b.test"], Grade::Fault),
            ("testing", &["mx.b.test"], Grade::Warning),
            ("none", &["mx.b.test"], Grade::Ok),
            ("nonsense", &["mx.a.test"], Grade::Fault),
        ] {
            let check = judge_policy("https://x", policy(mode), &exchanges(hosts));
            assert_eq!(check.result, grade, "{mode} {hosts:?}");
        }
    }

    #[test]
    fn an_address_has_to_have_the_name_of_the_host() {
        let host = Domain::parse("gw.a.test").unwrap();
        let address = "192.0.2.1".parse().unwrap();
        for (names, grade) in [
            (Ok(vec!["GW.a.test".to_owned()]), Grade::Ok),
            (Ok(vec!["other.test".to_owned()]), Grade::Warning),
            (Err(DnsFault::Nothing { ttl: None }), Grade::Fault),
            (Err(DnsFault::Failed("SERVFAIL".to_owned())), Grade::Warning),
        ] {
            assert_eq!(judge_reverse(&host, address, names).result, grade);
        }
    }

    #[test]
    fn the_key_in_the_dns_has_to_be_ours() {
        let texts = |record: &str| {
            Ok(Texts {
                records: vec![vec![record.as_bytes().to_vec()]],
                ttl: Duration::from_secs(60),
                authoritative: true,
            })
        };
        let ours = "v=DKIM1; k=rsa; p=AAAA";
        for (found, grade) in [
            (texts("v=DKIM1; k=rsa; p=AA AA"), Grade::Ok),
            (texts("v=DKIM1; k=rsa; p=BBBB"), Grade::Fault),
            (texts("v=DKIM1"), Grade::Fault),
            (Err(DnsFault::Nothing { ttl: None }), Grade::Fault),
        ] {
            assert_eq!(judge_key("s._domainkey.a.test", ours, &found).result, grade);
        }
    }
}
