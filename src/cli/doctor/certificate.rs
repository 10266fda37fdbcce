//! The certificate an address shows: does it lead to somebody believed, cover the host, and last?

use std::time::Duration;

use rustls::server::ParsedCertificate;
use rustls_pki_types::{CertificateDer, ServerName};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use super::report::Check;
use crate::net::{ChainFault, Probe};
use crate::protocol::Timestamp;

const CHAIN: &str = "certificate-chain";
const HOST: &str = "certificate-host";
const DAYS: &str = "certificate-days";
/// Renewal should have happened by then.
const SOON: Duration = Duration::from_secs(14 * 86_400);
const DAY: u64 = 86_400;
/// Names of a certificate that are shown.
const MOST_NAMES: usize = 8;

/// Judges a chain shown at `place` for `host`.
pub(super) fn judge(
    probe: &Probe,
    (place, host): (&str, &str),
    chain: &[CertificateDer<'_>],
    now: Timestamp,
) -> Vec<Check> {
    let parsed = chain
        .first()
        .and_then(|leaf| x509_parser::parse_x509_certificate(leaf).ok());
    let Some((_, leaf)) = parsed else {
        let text = format!("{place} shows nothing that can be read as a certificate");
        return vec![Check::fault(CHAIN, text, "give the gateway a certificate")];
    };
    let (from, to) = validity(&leaf);
    // Its days are a question of their own, so they must not hide who signed it.
    let inside = now.clamp(from, to.max(from));
    vec![
        judge_chain(place, chain.len(), probe.believes(chain, host, inside)),
        judge_host(place, host, &chain[0], &leaf),
        judge_days(place, from, to, now),
    ]
}

fn validity(leaf: &X509Certificate<'_>) -> (Timestamp, Timestamp) {
    let moment = |seconds: i64| Timestamp::from_millis(seconds.saturating_mul(1_000));
    let validity = leaf.validity();
    let to = moment(validity.not_after.timestamp());
    (moment(validity.not_before.timestamp()), to)
}

fn judge_chain(place: &str, length: usize, believed: Result<(), ChainFault>) -> Check {
    match believed {
        Ok(()) => Check::ok(CHAIN, format!("{place}: signed by somebody believed")),
        Err(fault @ ChainFault::UnknownIssuer) => {
            let fix = if length == 1 {
                "it came alone: send the intermediate certificates along (the full chain), or get one from a public authority; --ca FILE believes a private one here"
            } else {
                "get one from a public authority; --ca FILE believes a private one here"
            };
            Check::fault(CHAIN, format!("{place}: {fault}"), fix)
        }
        Err(fault) => Check::fault(
            CHAIN,
            format!("{place}: {fault}"),
            "get another certificate",
        ),
    }
}

fn judge_host(
    place: &str,
    host: &str,
    der: &CertificateDer<'_>,
    leaf: &X509Certificate<'_>,
) -> Check {
    let covered = match (ParsedCertificate::try_from(der), ServerName::try_from(host)) {
        (Ok(certificate), Ok(name)) => {
            rustls::client::verify_server_name(&certificate, &name).is_ok()
        }
        _ => false,
    };
    let names = names(leaf);
    if covered {
        return Check::ok(HOST, format!("{place}: covers {host}"));
    }
    let text = format!("{place}: does not cover {host}, but {names}");
    let fix = format!("get a certificate for {host}, or name another host in the record");
    Check::fault(HOST, text, fix)
}

/// What a certificate is for, as its subject alternative names say.
fn names(leaf: &X509Certificate<'_>) -> String {
    let extension = leaf.subject_alternative_name().ok().flatten();
    let all = extension.map(|found| found.value.general_names.as_slice());
    let all = all.unwrap_or_default();
    let named = all.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    });
    let mut shown: Vec<String> = named.take(MOST_NAMES).collect();
    if shown.is_empty() {
        return "no host at all".to_owned();
    }
    if all.len() > MOST_NAMES {
        shown.push("…".to_owned());
    }
    shown.join(", ")
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(four).to_string());
    }
    let sixteen = <[u8; 16]>::try_from(bytes).ok()?;
    Some(std::net::Ipv6Addr::from(sixteen).to_string())
}

fn judge_days(place: &str, from: Timestamp, to: Timestamp, now: Timestamp) -> Check {
    if now < from {
        let text = format!("{place}: the certificate is not valid before {from}");
        return Check::fault(DAYS, text, "look at this machine's clock, or get another");
    }
    if now >= to {
        let text = format!("{place}: the certificate expired on {to}");
        return Check::fault(DAYS, text, "renew it");
    }
    let days = to.since(now).as_secs() / DAY;
    let text = format!("{place}: the certificate is valid for {days} more days, until {to}");
    if to.since(now) < SOON {
        return Check::warning(DAYS, text, "renew it");
    }
    Check::ok(DAYS, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::report::Grade;
    use crate::clock::{Clock, TestClock};
    use crate::net::AddressFilter;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    /// 21 November 2026.
    const NOW: Timestamp = Timestamp::from_millis(1_795_219_200_000);

    fn certificate(
        names: &[&str],
        until: (i32, u8, u8),
        folder: &std::path::Path,
    ) -> (CertificateDer<'static>, Probe) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until.0, until.1, until.2);
        let key = KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        let file = folder.join("cert.pem");
        std::fs::write(&file, made.pem()).unwrap();
        let clock = Clock::over(TestClock::at(NOW));
        let time = Duration::from_secs(1);
        let probe = Probe::new(AddressFilter::public(), &[file], time, clock).unwrap();
        (made.der().clone(), probe)
    }

    fn grades(checks: &[Check]) -> Vec<Grade> {
        checks.iter().map(|check| check.result).collect()
    }

    #[test]
    fn chain_host_and_days_are_three_questions() {
        use Grade::{Fault, Ok, Warning};
        for (names, until, expected, words) in [
            (
                &["g.example"][..],
                (2030, 1, 1),
                [Ok, Ok, Ok],
                "more days, until 2030",
            ),
            (&["g.example"], (2026, 12, 1), [Ok, Ok, Warning], "renew it"),
            (
                &["g.example"],
                (2026, 1, 1),
                [Ok, Ok, Fault],
                "expired on 2026-01-01",
            ),
            (
                &["h.example", "192.0.2.7"],
                (2030, 1, 1),
                [Ok, Fault, Ok],
                "does not cover g.example, but h.example, 192.0.2.7",
            ),
            (
                &["h.example"],
                (2026, 1, 1),
                [Ok, Fault, Fault],
                "get a certificate for g.example",
            ),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let (leaf, probe) = certificate(names, until, folder.path());
            let checks = judge(&probe, ("at", "g.example"), &[leaf], NOW);
            assert_eq!(grades(&checks), expected, "{checks:?}");
            assert!(format!("{checks:?}").contains(words), "{checks:?}");
        }
    }

    #[test]
    fn nobody_believed_signed_it() {
        let (mine, others) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (leaf, _) = certificate(&["g.example"], (2030, 1, 1), mine.path());
        let (_, probe) = certificate(&["x.example"], (2030, 1, 1), others.path());
        let checks = judge(&probe, ("at", "g.example"), &[leaf], NOW);
        assert_eq!(checks[0].result, Grade::Fault);
        assert!(checks[0].fix.as_ref().unwrap().contains("--ca FILE"));
        let nothing = CertificateDer::from(vec![1, 2, 3]);
        let checks = judge(&probe, ("at", "g.example"), &[nothing], NOW);
        assert_eq!(grades(&checks), [Grade::Fault]);
    }
}
