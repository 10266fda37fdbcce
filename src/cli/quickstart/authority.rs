//! The certificate authority of a quickstart.
//!
//! It lives as long as it takes to vouch for the gateways: its key is never written, and its
//! certificate covers names under `test` and addresses of this machine only. Whoever believes it
//! gives nothing away.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CidrSubnet, DnType, DnValue,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints,
    SanType,
};

use crate::cli::init::certificate::{Pair, for_a_year};
use crate::protocol::Timestamp;

/// An authority that can vouch.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    now: Timestamp,
}

impl Authority {
    /// A new one.
    pub(super) fn new(now: Timestamp) -> Result<Self> {
        let mut params = named("amtpd quickstart, this machine only");
        for_a_year(&mut params, now)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![
                GeneralSubtree::DnsName("test".to_owned()),
                GeneralSubtree::IpAddress(CidrSubnet::V4([127, 0, 0, 0], [255, 0, 0, 0])),
            ],
            excluded_subtrees: Vec::new(),
        });
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { issuer, now })
    }

    /// Its certificate, for those that are to believe it.
    pub(super) fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for a host on this machine.
    pub(super) fn vouch(&self, host: &str) -> Result<Pair> {
        let mut params = named(host);
        for_a_year(&mut params, self.now)?;
        params.subject_alt_names = vec![
            SanType::DnsName(host.try_into()?),
            SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    let name = DnValue::Utf8String(name.to_owned());
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::RootCertStore;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls_pki_types::pem::PemObject as _;
    use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

    use super::*;
    use crate::clock::Clock;

    /// Whether a certificate for `host` is believed when `name` was called.
    fn is_believed(authority: &Authority, host: &str, name: &'static str) -> bool {
        let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(der(&authority.certificate())).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .unwrap();
        let leaf = der(&authority.vouch(host).unwrap().certificate);
        let name = ServerName::try_from(name).unwrap();
        verifier
            .verify_server_cert(&leaf, &[], &name, &[], UnixTime::now())
            .is_ok()
    }

    #[test]
    fn it_is_believed_for_test_domains_and_for_no_others() {
        let authority = Authority::new(Clock::system().now()).unwrap();
        let host = "gateway.alpha.test";
        assert!(is_believed(&authority, host, host));
        assert!(is_believed(&authority, host, "127.0.0.1"));
        assert!(!is_believed(&authority, host, "gateway.beta.test"));
        let other = "www.example.com";
        assert!(!is_believed(&authority, other, other));
    }
}
