//! A certificate that nobody but its owner believes, for trying out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use jiff::tz::TimeZone;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, SanType,
};

use crate::protocol::{GatewayUrl, Timestamp};

/// A certificate and its key, in PEM.
pub(in crate::cli) struct Pair {
    pub(in crate::cli) certificate: String,
    pub(in crate::cli) key: String,
}

/// A certificate for the host of `gateway` and for this machine's own names, from the day before
/// `now` for a year. It is no authority: it can be believed itself, but vouches for no other.
pub(super) fn self_signed(gateway: &GatewayUrl, now: Timestamp) -> Result<Pair> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names(gateway)?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, gateway.host());
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    for_a_year(&mut params, now)?;
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(Pair {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

/// From the day before `now`, so that clocks may differ, for a year.
pub(in crate::cli) fn for_a_year(params: &mut CertificateParams, now: Timestamp) -> Result<()> {
    let today = jiff::Timestamp::from_millisecond(now.as_millis())?
        .to_zoned(TimeZone::UTC)
        .date();
    let day = |date: jiff::civil::Date| {
        let [month, day] = [date.month(), date.day()].map(i8::unsigned_abs);
        rcgen::date_time_ymd(date.year().into(), month, day)
    };
    params.not_before = day(today.yesterday()?);
    params.not_after = day(today.checked_add(jiff::Span::new().days(365))?);
    Ok(())
}

fn names(gateway: &GatewayUrl) -> Result<Vec<SanType>> {
    let host = match gateway.host_ip() {
        Some(address) => SanType::IpAddress(address),
        None => SanType::DnsName(gateway.host().try_into()?),
    };
    let mut names = vec![
        SanType::DnsName("localhost".try_into()?),
        SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)),
    ];
    if !names.contains(&host) {
        names.insert(0, host);
    }
    Ok(names)
}
