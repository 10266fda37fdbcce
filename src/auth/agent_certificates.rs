//! Client certificates of agents: one that an authority for clients issued, and that names an agent of
//! ours, is a credential of that agent.
//!
//! The name is a URI `amtp:agent@domain` or a mail address `agent@domain` among the subject alternative
//! names. A certificate that names two agents of ours names none.

use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use super::issuers::ours;
use super::verify::CertificateCheck;
use crate::clock::Clock;
use crate::protocol::{AgentName, Domain};
use crate::tls::ClientChains;

const SCHEME: &str = "amtp:";
/// Names in logs are no longer than this.
const LONGEST_SERIAL: usize = 64;

/// Reads certificates of agents. Cloning is cheap.
#[derive(Clone)]
pub struct AgentCertificates {
    check: CertificateCheck,
    domains: Vec<Domain>,
}

/// The agent a certificate names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Certified {
    pub(super) domain: Domain,
    pub(super) name: AgentName,
    /// The number of the certificate at its authority, in hexadecimal digits.
    pub(super) serial: String,
}

impl AgentCertificates {
    /// Believes the authorities for clients of `chains`; `domains` are ours.
    #[must_use]
    pub fn new(chains: ClientChains, domains: Vec<Domain>, clock: Clock) -> Self {
        Self {
            check: CertificateCheck::new(chains, clock),
            domains,
        }
    }

    /// The agent whose certificate stands first in this chain, if it is a good one.
    pub(super) fn find(&self, chain: &[CertificateDer<'static>]) -> Option<Certified> {
        let leaf = chain.first()?;
        let (_, leaf) = x509_parser::parse_x509_certificate(leaf).ok()?;
        let (domain, name) = self.named(&leaf)?;
        let serial = leaf.raw_serial().iter().map(|byte| format!("{byte:02x}"));
        let serial: String = serial.take(LONGEST_SERIAL / 2).collect();
        self.check.is_some_client(chain).then_some(Certified {
            domain,
            name,
            serial,
        })
    }

    fn named(&self, leaf: &X509Certificate<'_>) -> Option<(Domain, AgentName)> {
        let names = leaf.subject_alternative_name().ok()??;
        let addresses = names
            .value
            .general_names
            .iter()
            .filter_map(|name| match name {
                GeneralName::RFC822Name(address) => Some(*address),
                GeneralName::URI(uri) => {
                    let (scheme, address) = uri.split_at_checked(SCHEME.len())?;
                    scheme.eq_ignore_ascii_case(SCHEME).then_some(address)
                }
                _ => None,
            });
        let mut agents = addresses.filter_map(|address| ours(address, &self.domains));
        let agent = agents.next()?;
        agents.all(|other| other == agent).then_some(agent)
    }
}

#[cfg(test)]
mod tests;
