//! `amtpd doctor`: what the world sees of a domain, looked at from where the command runs.
//!
//! It asks the DNS, connects to the gateways that the domain's record names, and says of everything
//! whether it is as it should be, and what to do where it is not. It changes nothing, sends no message,
//! takes bounded answers and ends after twelve times `--timeout`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::{FAILED, Reported, load, show};
use crate::clock::Clock;
use crate::config::{Config, FEATURES, Span};
use crate::net::{AddressFilter, FileFault, HickoryResolver, Probe};
use crate::protocol::{Advertisement, Domain, Selector};
use report::{Check, Report};

mod certificate;
mod configuration;
mod gateway;
mod http;
mod key;
mod mail;
mod mailing;
mod record;
mod report;
mod signing;

/// All of it takes at most so many times what one answer may take.
const LONGEST: u32 = 12;
/// Gateways of one domain that are looked at.
const MOST_GATEWAYS: usize = 4;
const DNS_PORT: u16 = 53;

/// See a domain as other gateways see it, and what to fix; exit code 1 says there are faults
#[derive(Debug, Args)]
pub(super) struct DoctorCommand {
    /// The domain to look at, such as example.com
    domain: Domain,
    /// Print JSON for programs
    #[arg(long)]
    json: bool,
    /// The DNS server to ask instead of the system's; may be given several times
    #[arg(long, value_name = "IP[:PORT]", value_parser = server)]
    dns: Vec<SocketAddr>,
    /// Compare what is found with this configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How long to wait for each answer
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = timeout)]
    timeout: Duration,
    /// Believe the certificates of this PEM file beside the system's
    #[arg(long, value_name = "FILE")]
    ca: Vec<PathBuf>,
    /// Connect to addresses of private networks and of this machine, too
    #[arg(long)]
    allow_private: bool,
    /// Look at the key record of this selector, too; those of the configuration are looked at anyway
    #[arg(long, value_name = "NAME")]
    selector: Option<Selector>,
    /// Look at the DKIM key of this selector, too
    #[arg(long, value_name = "NAME", value_parser = labels)]
    dkim_selector: Option<String>,
}

/// What every look needs.
struct Tools {
    resolver: Arc<HickoryResolver>,
    probe: Probe,
    filter: AddressFilter,
    ca_files: Vec<PathBuf>,
    /// How long one answer may take.
    time: Duration,
    clock: Clock,
}

impl DoctorCommand {
    pub(super) async fn run(self) -> Result<()> {
        let config = self.config.as_deref().map(load).transpose()?;
        let tools = self.tools()?;
        let mut report = Report::of(self.domain.as_str());
        let longest = self.timeout * LONGEST;
        let look = self.look(&tools, config.as_ref(), &mut report);
        match tools.clock.within(longest, look).await {
            Some(done) => done?,
            None => report.add(Check::fault(
                "time",
                format!(
                    "not everything could be looked at in {} s",
                    longest.as_secs()
                ),
                "mend what did not answer, or give it longer with --timeout",
            )),
        }
        show(&if self.json {
            report.json()?
        } else {
            report.text()
        })?;
        match report.has_faults() {
            false => Ok(()),
            true => Err(Reported(FAILED).into()),
        }
    }

    fn tools(&self) -> Result<Tools> {
        let clock = Clock::system();
        let filter = if self.allow_private {
            AddressFilter::any()
        } else {
            AddressFilter::public()
        };
        // Each server is asked twice at most.
        let resolver = HickoryResolver::new(&self.dns, self.timeout / 2)?.without_hosts();
        Ok(Tools {
            resolver: Arc::new(resolver),
            probe: Probe::new(filter.clone(), &self.ca, self.timeout, clock.clone())?,
            filter,
            ca_files: self.ca.clone(),
            time: self.timeout,
            clock,
        })
    }

    async fn look(
        &self,
        tools: &Tools,
        config: Option<&Config>,
        report: &mut Report,
    ) -> Result<(), FileFault> {
        let found = self.look_at_record(tools, config, report).await;
        if let Some(config) = config {
            report.extend(configuration::compare(&self.domain, &found, config));
        }
        let mut gateways: Vec<_> = found.into_iter().map(|one| one.gateway).collect();
        gateways.sort();
        gateways.dedup();
        // A gateway can be mended before its record is published.
        if gateways.is_empty() {
            gateways.extend(config.map(|config| config.gateway_url.clone()));
        }
        for gateway in gateways.iter().take(MOST_GATEWAYS) {
            gateway::look(tools, gateway, report).await?;
        }
        if gateways.is_empty() {
            let text = "no gateway was looked at, for no valid record names one";
            report.add(Check::skipped("reach", text));
        }
        self.look_at_keys(tools, config, report).await;
        mail::look(tools, &self.domain, self.dkim_selector.as_deref(), report).await;
        mailing::look(tools, &self.domain, config, report).await
    }

    async fn look_at_keys(&self, tools: &Tools, config: Option<&Config>, report: &mut Report) {
        for selector in signing::selectors(self.selector.as_ref(), config) {
            let name = selector.name_in(&self.domain);
            let answer = tools.resolver.texts(&name).await;
            report.add(key::judge(&name, &answer));
            if let Some(ours) = config.and_then(|config| config.signing.as_ref()) {
                report.extend(signing::compare((&selector, &self.domain), ours, &answer));
            }
        }
    }

    async fn look_at_record(
        &self,
        tools: &Tools,
        config: Option<&Config>,
        report: &mut Report,
    ) -> Vec<Advertisement> {
        let domain = self.domain.as_str();
        let name = format!("_amtp.{domain}");
        let proposal = match config {
            Some(config) => config.advertisement().to_string(),
            None => format!(
                "v=amtp1;gateway=https://HOST;max-size=10485760;features={}",
                FEATURES.join(",")
            ),
        };
        let answer = tools.resolver.texts(&name).await;
        let found = record::judge(&name, &proposal, &answer);
        report.extend(found.checks);
        if found.gateways.is_empty() {
            // Where a provider's form adds the zone to a name that had it already.
            for wrong in [domain.to_owned(), format!("{name}.{domain}")] {
                if record::is_misplaced(&tools.resolver.texts(&wrong).await) {
                    let text = format!("an AMTP record stands at {wrong}");
                    report.add(Check::warning("record", text, format!("move it to {name}")));
                }
            }
        }
        found.gateways
    }
}

fn server(text: &str) -> Result<SocketAddr, String> {
    let bare = || {
        text.parse::<IpAddr>()
            .map(|ip| SocketAddr::new(ip, DNS_PORT))
    };
    SocketAddr::from_str(text)
        .or_else(|_| bare())
        .map_err(|_| "must be an address such as 192.0.2.53 or 192.0.2.53:53".to_owned())
}

/// From 100 ms to a minute.
fn timeout(text: &str) -> Result<Duration, String> {
    let bounds = Duration::from_millis(100)..=Duration::from_secs(60);
    let span = Span::from_str(text).map(|span| Duration::from_millis(span.0));
    span.ok()
        .filter(|span| bounds.contains(span))
        .ok_or_else(|| "must be a time such as 5s, from 100ms to 60s".to_owned())
}

fn labels(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=128).contains(&text.len()) && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    Err("must be 1 to 128 letters, digits, hyphens and dots".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_people_write_them() {
        assert_eq!(server("192.0.2.53").unwrap().port(), 53);
        assert_eq!(server("[2001:db8::1]:5353").unwrap().port(), 5353);
        assert_eq!(server("2001:db8::1").unwrap().port(), 53);
        assert!(server("dns.example").is_err());
        assert_eq!(timeout("300ms").unwrap(), Duration::from_millis(300));
        assert!(timeout("99ms").is_err() && timeout("2m").is_err() && timeout("5").is_err());
        assert!(labels("s1.mail_2").is_ok() && labels("a b").is_err());
    }
}
