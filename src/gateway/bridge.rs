//! The bridge to mail, from its configuration.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::{Bridging, Config, MailFace, MailTls, Smarthost};
use crate::discovery::{Discovery, MtaSts};
use crate::intake::People;
use crate::mime::Face;
use crate::net::{
    AddressFilter, FileFault, GuardedClient, MailLineOptions, MailLines, Resolver, Times,
};
use crate::store::{Sealer, Store};
use crate::transport::{
    Login, MailSettings, MailSigner, MailTools, MailTransport, SmarthostSettings,
};

/// Mail servers answer slowly when they look at who calls.
const CONNECT: Duration = Duration::from_secs(30);

/// How mail goes out.
pub(super) struct BridgeWay {
    settings: MailSettings,
    lines: MailLines,
    policies: Option<MtaSts>,
    bridging: Bridging,
}

impl BridgeWay {
    pub(super) fn new(
        config: &Config,
        bridging: &Bridging,
        (resolver, clock): (&Arc<dyn Resolver>, &Clock),
        policies: GuardedClient,
    ) -> Result<Self, FileFault> {
        let lines = MailLines::new(MailLineOptions {
            resolver: resolver.clone(),
            filter: AddressFilter::allowing(&config.net.allow.smtp),
            trusted_ca_files: config.tls.trusted_ca_file.clone().into_iter().collect(),
            times: Times {
                connect: CONNECT,
                ..Times::default()
            },
            clock: clock.clone(),
        })?;
        let asks = bridging.bridge.tls != MailTls::Opportunistic && bridging.smarthost.is_none();
        Ok(Self {
            settings: settings(config, bridging),
            lines,
            policies: asks.then(|| MtaSts::new(resolver.clone(), policies, clock.clone())),
            bridging: bridging.clone(),
        })
    }

    pub(super) fn transport(
        &self,
        (store, clock): (&Store, &Clock),
        discovery: Discovery,
        sealer: Sealer,
    ) -> MailTransport {
        let tools = MailTools {
            store: store.clone(),
            discovery,
            lines: self.lines.clone(),
            sealer,
            clock: clock.clone(),
        };
        let mut transport = MailTransport::new(tools, self.settings.clone());
        if let Some(policies) = &self.policies {
            transport = transport.with_policies(policies.clone());
        }
        if let Some(dkim) = &self.bridging.dkim {
            transport = transport.with_signer(MailSigner::new(dkim));
        }
        transport
    }
}

fn settings(config: &Config, bridging: &Bridging) -> MailSettings {
    let bridge = &bridging.bridge;
    MailSettings {
        host: bridge.host.clone(),
        domains: config.domains.clone(),
        face: match bridge.from {
            MailFace::Bridge => Face::Bridge,
            MailFace::Agent => Face::Agent,
        },
        tls: bridge.tls,
        port: bridge.port,
        smarthost: bridging.smarthost.as_ref().map(smarthost),
        next_hop: bridge.next_hop.clone(),
        onward: bridge.domains.iter().cloned().collect(),
    }
}

fn smarthost(smarthost: &Smarthost) -> SmarthostSettings {
    let login = smarthost.user.clone().zip(smarthost.password.clone());
    SmarthostSettings {
        host: smarthost.host.clone(),
        port: smarthost.port,
        tls: smarthost.tls,
        login: login.map(|(user, password)| Login { user, password }),
    }
}

/// The most connections to the mail servers of one domain.
pub(super) fn concurrency(config: &Config) -> usize {
    let bridging = config.bridge.as_ref();
    bridging.map_or(1, |bridging| bridging.bridge.concurrency)
}

/// So many mails in such a time to each domain.
pub(super) fn rate(config: &Config) -> Option<(NonZeroU32, Duration)> {
    let rate = config.bridge.as_ref()?.bridge.rate.as_ref()?;
    Some((rate.count, rate.period))
}

/// How people are reached.
pub(super) fn people(config: &Config) -> Option<People> {
    let bridge = &config.bridge.as_ref()?.bridge;
    Some(People {
        onward: bridge.domains.iter().cloned().collect(),
    })
}
