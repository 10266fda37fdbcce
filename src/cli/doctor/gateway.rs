//! A gateway that a record names: its addresses, and each of them from the connection up.

use std::net::{IpAddr, SocketAddr};

use super::report::{Check, Grade, Report};
use super::{Tools, certificate, http};
use crate::net::{
    AddressFilter, DnsFault, FileFault, ProbeFault, Resolver as _, Shown, TlsVersion,
};
use crate::protocol::GatewayUrl;

const ADDRESS: &str = "address";
const REACH: &str = "reach";
const TLS: &str = "tls";
const OLD_TLS: &str = "tls-1.2";
const HTTP2: &str = "http2";
/// Addresses of one host that are looked at.
const MOST_ADDRESSES: usize = 8;

/// Looks at a gateway.
///
/// # Errors
/// A file of certificates cannot be used.
pub(super) async fn look(
    tools: &Tools,
    gateway: &GatewayUrl,
    report: &mut Report,
) -> Result<(), FileFault> {
    let host = gateway.host();
    let addresses = match tools.resolver.addresses(host).await {
        Ok(found) => found.records,
        Err(DnsFault::Nothing { .. }) => {
            let text = format!("{host} has no address");
            let fix = format!("publish an A or AAAA record of {host} in DNS");
            report.add(Check::fault(ADDRESS, text, fix));
            return Ok(());
        }
        Err(fault) => {
            let text = format!("{host}: {fault}");
            let fix = "look at the name servers of its zone, or ask another with --dns";
            report.add(Check::fault(ADDRESS, text, fix));
            return Ok(());
        }
    };
    let mut reached = false;
    for address in addresses.iter().copied().take(MOST_ADDRESSES) {
        report.add(judge_address(host, address, &tools.filter));
        if tools.filter.check(address).is_ok() {
            reached |= look_at_address(tools, gateway, address, report).await?;
        }
    }
    if !reached
        && !report
            .checks()
            .iter()
            .any(|check| check.result == Grade::Fault)
    {
        let text = format!("no address of {host} could be looked at from here");
        let fix = "run this on a machine that has a way there";
        report.add(Check::fault(REACH, text, fix));
    }
    Ok(())
}

/// Addresses that others refuse to connect to are named, whatever we do.
fn judge_address(host: &str, address: IpAddr, filter: &AddressFilter) -> Check {
    let Err(refused) = AddressFilter::public().check(address) else {
        return Check::ok(ADDRESS, format!("{host} is {address}"));
    };
    let text = format!(
        "{host} is {address}, which is not public ({})",
        refused.range
    );
    if filter.check(address).is_ok() {
        let fix = "only gateways that were told to connect there will";
        return Check::warning(ADDRESS, text, fix);
    }
    let fix =
        "publish the public address; within your own network, --allow-private looks all the same";
    Check::fault(ADDRESS, text, fix)
}

/// From the connection up; whether it was reached.
async fn look_at_address(
    tools: &Tools,
    gateway: &GatewayUrl,
    address: IpAddr,
    report: &mut Report,
) -> Result<bool, FileFault> {
    let remote = SocketAddr::new(address, gateway.port());
    let place = remote.to_string();
    let reached = tools.probe.reach(remote).await;
    report.add(judge_reach(&place, &reached));
    if reached.is_err() {
        return Ok(false);
    }
    let host = gateway.host();
    let new = tools.probe.shake_hands(remote, host, TlsVersion::V13).await;
    let old = tools.probe.shake_hands(remote, host, TlsVersion::V12).await;
    report.add(judge_tls(&place, &new, &old));
    let Ok(shown) = new else {
        report.add(Check::skipped(http::ROUTE, format!("{place}: not asked")));
        return Ok(true);
    };
    report.add(judge_old_tls(&place, &old));
    let now = tools.clock.now();
    let judged = certificate::judge(&tools.probe, (&place, host), &shown.chain, now);
    let believed = judged.iter().all(|check| check.result != Grade::Fault);
    report.extend(judged);
    report.add(judge_http2(&place, &shown));
    if believed {
        report.extend(http::look(tools, gateway, (&place, address)).await?);
    } else {
        let text = format!("{place}: not asked, for nobody would with this certificate");
        report.add(Check::skipped(http::ROUTE, text));
    }
    Ok(true)
}

fn judge_reach(place: &str, reached: &Result<(), ProbeFault>) -> Check {
    match reached {
        Ok(()) => Check::ok(REACH, format!("{place} takes connections")),
        Err(fault @ ProbeFault::NoRoute(_)) => {
            let fix = "look at this address from a machine that has a way there";
            Check::warning(REACH, format!("{place}: {fault}"), fix)
        }
        Err(fault) => {
            let fix = "does the gateway listen there, and do firewalls and port forwarding let others in?";
            Check::fault(REACH, format!("{place}: {fault}"), fix)
        }
    }
}

type Hands = Result<Shown, ProbeFault>;

fn judge_tls(place: &str, new: &Hands, old: &Hands) -> Check {
    match (new, old) {
        (Ok(_), _) => Check::ok(TLS, format!("{place} speaks TLS 1.3")),
        (Err(_), Ok(_)) => {
            let text = format!("{place} speaks TLS 1.2, but not 1.3");
            Check::fault(
                TLS,
                text,
                "let the gateway or the proxy before it offer TLS 1.3",
            )
        }
        (Err(fault), Err(_)) => {
            let fix = "is this the port that speaks TLS, and does it have a certificate?";
            Check::fault(TLS, format!("{place}: {fault}"), fix)
        }
    }
}

fn judge_old_tls(place: &str, old: &Hands) -> Check {
    match old {
        Ok(_) => {
            let text = format!("{place} also speaks TLS 1.2");
            Check::warning(
                OLD_TLS,
                text,
                "let the gateway or the proxy before it offer TLS 1.3 only",
            )
        }
        Err(ProbeFault::Tls(_)) => Check::ok(OLD_TLS, format!("{place} refuses TLS 1.2")),
        Err(fault) => Check::skipped(OLD_TLS, format!("{place}: {fault}")),
    }
}

fn judge_http2(place: &str, shown: &Shown) -> Check {
    if shown.http2 {
        return Check::ok(HTTP2, format!("{place} speaks HTTP/2"));
    }
    let text = format!("{place} does not offer HTTP/2");
    Check::warning(
        HTTP2,
        text,
        "let it offer h2 by ALPN: HTTP/1.1 carries one message at a time on a connection",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hands(http2: bool) -> Hands {
        Ok(Shown {
            chain: Vec::new(),
            http2,
        })
    }

    fn no(cause: &str) -> Hands {
        Err(ProbeFault::Tls(cause.to_owned()))
    }

    #[test]
    fn version_1_3_is_needed_and_1_2_is_better_refused() {
        use Grade::{Fault, Ok as Fine, Skipped, Warning};
        for (new, old, tls, old_tls) in [
            (hands(true), no("alert"), Fine, Fine),
            (hands(true), hands(true), Fine, Warning),
            (hands(true), Err(ProbeFault::TimedOut), Fine, Skipped),
            (no("alert"), hands(true), Fault, Warning),
            (no("alert"), no("alert"), Fault, Fine),
        ] {
            assert_eq!(judge_tls("at", &new, &old).result, tls);
            assert_eq!(judge_old_tls("at", &old).result, old_tls);
        }
        let check = judge_tls("at", &no("alert"), &hands(true));
        assert!(check.text.contains("1.2, but not 1.3"), "{check:?}");
    }

    #[test]
    fn addresses_that_are_not_public_are_named() {
        let (public, any) = (AddressFilter::public(), AddressFilter::any());
        for (address, filter, grade, words) in [
            ("8.8.8.8", &public, Grade::Ok, "8.8.8.8"),
            ("10.0.0.7", &public, Grade::Fault, "(private)"),
            ("10.0.0.7", &any, Grade::Warning, "(private)"),
            ("::1", &public, Grade::Fault, "(loopback)"),
        ] {
            let check = judge_address("g.example", address.parse().unwrap(), filter);
            assert_eq!(check.result, grade, "{check:?}");
            assert!(check.text.contains(words), "{check:?}");
        }
    }

    #[test]
    fn an_address_this_machine_has_no_way_to_is_not_the_gateways_fault() {
        let no_route = Err(ProbeFault::NoRoute("unreachable".to_owned()));
        assert_eq!(judge_reach("at", &no_route).result, Grade::Warning);
        let refused = Err(ProbeFault::Connect("refused".to_owned()));
        assert_eq!(judge_reach("at", &refused).result, Grade::Fault);
        assert_eq!(
            judge_http2("at", &hands(false).unwrap()).result,
            Grade::Warning
        );
    }
}
