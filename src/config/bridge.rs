//! Sections `bridge`, `bridge.smarthost` and `bridge.dkim`: mail to people.

use super::kind::{
    Count, DkimKey, DomainName, Face, HostName, List, MailFace, MailServer, MailTls, NextHop,
    Optional, Pace, Password, Port, Protection, SecondSelector, SelectorName, SmarthostMode,
    SmarthostTls, Text,
};
use super::reading::Reading;
use super::secret::Secret;
use super::section::section;
use super::units::Rate;
use crate::protocol::{Domain, Selector};

section! {
    /// Mail to domains that take mail and have no gateway. Without this section a recipient there is not found.
    pub struct Bridge = "bridge" {
        /// The name of this host as other mail servers are told. Its addresses should have it as their name in the DNS.
        host: Domain as DomainName,
        /// Whose address stands in `From`: `bridge` is `amtp-bridge` at our domain with the name of the agent, and
        /// people answer to the agent by `Reply-To`; `agent` is the agent's own address.
        from: MailFace as Face = "bridge",
        /// How connections to mail exchanges are protected. `mta-sts`: with TLS where the other side offers it, and
        /// only with a valid certificate where the policy of the domain says so (MTA-STS). `opportunistic`: the same
        /// without asking for policies. `required`: never without TLS and a valid certificate.
        tls: MailTls as Protection = "mta-sts",
        /// The port of mail exchanges. Others than 25 are for tests.
        port: u16 as Port = "25",
        /// Domains of this gateway that have people too, whose mail lives elsewhere. Needs `next_hop`.
        domains: Vec<Domain> as List<DomainName> = "[]",
        /// The mail server that takes what is for people of `domains`.
        next_hop: Option<MailServer> as Optional<NextHop>,
        /// The most connections to one domain at a time.
        concurrency: usize as Count<1, 100> = "4",
        /// The most mails to one domain. Without it there is no such limit.
        rate: Option<Rate> as Optional<Pace>,
    }
}

section! {
    /// A mail server that takes all mail of this gateway and carries it on. Without it mail goes to the mail exchanges
    /// of each domain.
    pub struct Smarthost = "bridge.smarthost" {
        /// Its name or address. Its certificate must be valid for it.
        host: String as HostName,
        /// Its port.
        port: u16 as Port = "587",
        /// How the connection is protected: `starttls`, `implicit` (from the first byte on, as on port 465), or
        /// `none`, which is for a server on this machine or in the same network.
        tls: SmarthostTls as SmarthostMode = "starttls",
        /// The user's name. Needs `password`.
        user: Option<String> as Optional<Text>,
        /// The user's password.
        password: Option<Secret> as Optional<Password>,
    }
}

section! {
    /// The key that signs mail (DKIM). Its public half stands in the DNS at `<selector>._domainkey.<domain>`, for
    /// every domain of this gateway; `amtpd bridge dns` prints the records.
    pub struct Dkim = "bridge.dkim" {
        /// The name of the key in the DNS. A new key gets a new one.
        selector: Selector as SelectorName,
        /// The private key in PEM: RSA with at least 2048 bits, or Ed25519.
        "key_file" key: Secret as DkimKey,
        /// The name of a second key in the DNS. Mails then carry two signatures: those who do not know Ed25519 yet
        /// check the one made with RSA.
        second_selector: Option<Selector> as Optional<SecondSelector>,
        /// The second private key in PEM.
        "second_key_file" second_key: Option<Secret> as Optional<DkimKey>,
    }
}

/// Everything that is set of the bridge.
#[derive(Debug, Clone)]
pub struct Bridging {
    /// The bridge itself.
    pub bridge: Bridge,
    /// Who carries its mail.
    pub smarthost: Option<Smarthost>,
    /// What signs its mail.
    pub dkim: Option<Dkim>,
}

/// Reads the sections; the inner `None` where they are not there, the outer after a fault.
pub(super) fn read(reading: &mut Reading<'_>) -> Option<Option<Bridging>> {
    if !reading.has(&Bridge::TABLE) {
        return Some(None);
    }
    let bridge = Bridge::read(reading);
    let smarthost = reading.maybe(&Smarthost::TABLE, Smarthost::read);
    let dkim = reading.maybe(&Dkim::TABLE, Dkim::read);
    Some(Some(Bridging {
        bridge: bridge?,
        smarthost: smarthost?,
        dkim: dkim?,
    }))
}

impl Bridging {
    /// Tells what does not fit together.
    pub(super) fn check(&self, ours: &[Domain], seals: bool, reading: &mut Reading<'_>) {
        let mut fault = |key: &str, text: &str| reading.fault_of(key, text.to_owned());
        if !seals {
            let text = "needs secrets.key_file: the addresses that bounces come back to are signed with it";
            fault("bridge", text);
        }
        let bridge = &self.bridge;
        if bridge.next_hop.is_none() && !bridge.domains.is_empty() {
            let text = "means nothing without bridge.next_hop; name the server that has their mail";
            fault("bridge.domains", text);
        }
        for domain in bridge.domains.iter().filter(|it| !ours.contains(it)) {
            let text = format!("names {domain}, which is not in `domains`; add it there");
            fault("bridge.domains", &text);
        }
        if let Some(smarthost) = &self.smarthost {
            smarthost.check(&mut fault);
        }
        if let Some(dkim) = &self.dkim {
            dkim.check(&mut fault);
        }
    }
}

impl Smarthost {
    fn check(&self, fault: &mut impl FnMut(&str, &str)) {
        let key = |name: &str| format!("bridge.smarthost.{name}");
        match (&self.user, &self.password) {
            (Some(_), None) => fault(&key("user"), "needs bridge.smarthost.password; add it"),
            (None, Some(_)) => fault(&key("password"), "needs bridge.smarthost.user; add it"),
            (Some(_), Some(_)) if self.tls == SmarthostTls::None => {
                let text = "is none, and a password goes over TLS only; use starttls or implicit";
                fault(&key("tls"), text);
            }
            _ => {}
        }
    }
}

impl Dkim {
    fn check(&self, fault: &mut impl FnMut(&str, &str)) {
        match (&self.second_selector, &self.second_key) {
            (Some(_), None) => {
                let text = "needs bridge.dkim.second_key_file; add it";
                fault("bridge.dkim.second_selector", text);
            }
            (None, Some(_)) => {
                let text = "needs bridge.dkim.second_selector; add it";
                fault("bridge.dkim.second_key_file", text);
            }
            (Some(second), Some(_)) if *second == self.selector => {
                let text = "is the selector of the first key too; give each its own";
                fault("bridge.dkim.second_selector", text);
            }
            _ => {}
        }
    }
}
