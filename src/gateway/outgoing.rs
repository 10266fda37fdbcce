//! The ways out of a gateway, from its configuration.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;

use crate::auth::{AgentCertificates, Issuers, SenderCheck};
use crate::clock::Clock;
use crate::config::{Config, Peer};
use crate::discovery::Discovery;
use crate::net::{
    AddressFilter, FileFault, GuardOptions, GuardedClient, HickoryResolver, Plain, Resolver, Times,
    TlsVersions, authorities, authorities_of_servers,
};
use crate::protocol::{Advertisement, Domain};
use crate::queue::{Expansion, Transports};
use crate::store::{Sealer, Store};
use crate::telemetry::{Metrics, Standings};
use crate::tls::ClientChains;
use crate::topics::Topics;
use crate::transport::webhook::WebhookTransport;
use crate::transport::{
    A2aTransport, GroupTransport, LocalTransport, PeerOptions, PeerSettings, PeerTools,
    PeerTransport, Signing,
};

use super::StartError;
use super::bridge::BridgeWay;
use super::calls::A2aWay;

/// What connections to others are made of.
pub(super) struct Outgoing {
    pub(super) discovery: Discovery,
    peers: PeerOptions,
    webhooks: GuardedClient,
    /// For connections to agents that are kept open.
    pub(super) sockets: GuardedClient,
    signing: Option<Signing>,
    pub(super) schemas: GuardedClient,
    oidc: GuardedClient,
    /// For A2A agents of others, and for receivers that A2A clients name.
    pub(super) a2a: A2aWay,
    bridge: Option<BridgeWay>,
}

impl Outgoing {
    pub(super) fn new(
        config: &Config,
        clock: &Clock,
        metrics: &Metrics,
    ) -> Result<Self, StartError> {
        let resolver = HickoryResolver::new(&config.dns.servers, config.dns.timeout)?;
        let resolver: Arc<dyn Resolver> = Arc::new(resolver);
        let discovery = Discovery::new(resolver.clone(), clock.clone(), metrics.clone())
            .with_overrides(overrides(config));
        let making = Making {
            config,
            resolver: &resolver,
            clock,
            metrics,
        };
        let mut peers = HashMap::new();
        for (domain, peer) in &config.peers {
            peers.insert(domain.clone(), making.peer(peer)?);
        }
        let others = PeerSettings {
            client: making.client(AddressFilter::public(), None, None, Kind::Peer)?,
            authorization: None,
            batch: true,
        };
        let allowed = AddressFilter::allowing(&config.net.allow.webhooks);
        let sockets = making.client(allowed.clone(), None, None, Kind::Socket)?;
        let webhooks = making.client(allowed, None, None, Kind::Webhook)?;
        let allowed = AddressFilter::allowing(&config.net.allow.schemas);
        let schemas = making.client(allowed, None, None, Kind::Schemas)?;
        let allowed = AddressFilter::allowing(&config.net.allow.oidc);
        let oidc = making.client(allowed, None, None, Kind::Oidc)?;
        let allowed = AddressFilter::allowing(&config.net.allow.a2a);
        let a2a = making.client(allowed, None, None, Kind::A2a)?;
        let bridge = match &config.bridge {
            Some(bridging) => {
                let allowed = AddressFilter::allowing(&config.net.allow.smtp);
                let policies = making.client(allowed, None, None, Kind::MailPolicies)?;
                Some(BridgeWay::new(
                    config,
                    bridging,
                    (&resolver, clock),
                    policies,
                )?)
            }
            None => None,
        };
        Ok(Self {
            bridge,
            discovery,
            peers: PeerOptions { peers, others },
            webhooks,
            sockets,
            signing: config.signing.as_ref().map(|signing| {
                Signing::new(signing.signer(), &config.domains, clock.clone(), metrics)
            }),
            schemas,
            oidc,
            a2a: A2aWay::new(config, a2a),
        })
    }

    /// Whose tokens are believed beside our own.
    pub(super) fn issuers(&self, config: &Config, clock: &Clock, metrics: &Metrics) -> Issuers {
        Issuers::new(&config.issuers, &config.domains, &self.oidc, clock, metrics)
    }

    /// What reads certificates of agents, where there is an authority for clients.
    pub(super) fn agent_certificates(
        config: &Config,
        clock: &Clock,
    ) -> Result<Option<AgentCertificates>, FileFault> {
        let Some(file) = &config.tls.client_ca_file else {
            return Ok(None);
        };
        let chains = ClientChains::new(
            authorities(std::slice::from_ref(file))?,
            RootCertStore::empty(),
        );
        let domains = config.domains.clone();
        Ok(Some(AgentCertificates::new(chains, domains, clock.clone())))
    }

    /// What finds out about foreign senders.
    pub(super) fn sender_check(
        &self,
        config: &Config,
        clock: &Clock,
        metrics: &Metrics,
    ) -> Result<SenderCheck, FileFault> {
        let files = |file: &Option<PathBuf>| file.iter().cloned().collect::<Vec<_>>();
        let clients = authorities(&files(&config.tls.client_ca_file))?;
        let servers = authorities_of_servers(&files(&config.tls.trusted_ca_file))?;
        let chains = ClientChains::new(clients, servers);
        let discovery = self.discovery.clone();
        Ok(SenderCheck::new(
            discovery,
            chains,
            clock.clone(),
            metrics.clone(),
        ))
    }

    /// What carries deliveries.
    pub(super) fn transports(
        &self,
        (store, clock): (&Store, &Clock),
        (sealer, standings): (Option<Sealer>, Standings),
        topics: &Topics,
    ) -> Transports {
        let tools = PeerTools {
            store: store.clone(),
            discovery: self.discovery.clone(),
            clock: clock.clone(),
        };
        let mut peer = PeerTransport::new(tools, self.peers.clone());
        if let Some(signing) = &self.signing {
            peer = peer.with_signing(signing.clone());
        }
        let bridge = self.bridge.as_ref().zip(sealer.clone());
        let mail = bridge.map(|(way, sealer)| {
            let discovery = self.discovery.clone();
            Arc::new(way.transport((store, clock), discovery, sealer))
        });
        let a2a = A2aTransport::new(store.clone(), self.a2a(sealer.clone(), clock));
        let webhook =
            WebhookTransport::new(store.clone(), self.webhooks.clone(), sealer, clock.clone());
        let members = (webhook.clone(), standings.clone());
        let local = LocalTransport::new(store.clone(), webhook, a2a, clock.clone());
        let group = GroupTransport::new(store.clone(), members.0, members.1, clock.clone());
        Transports {
            peer: Arc::new(peer),
            webhook: Arc::new(local),
            list: Arc::new(Expansion::new(topics.clone())),
            group: Arc::new(group),
            mail,
            standings,
        }
    }
}

/// Peers whose gateway the operator named.
fn overrides(config: &Config) -> HashMap<Domain, Advertisement> {
    let named = config.peers.iter().filter_map(|(domain, peer)| {
        let gateway = peer.gateway.clone()?;
        // One that takes no batches says so, and gets one message at a time.
        let features: &[&str] = if peer.batch { &["batch"] } else { &[] };
        let assumed = Advertisement::of_gateway(gateway, features);
        Some((domain.clone(), assumed))
    });
    named.collect()
}

enum Kind {
    Peer,
    Webhook,
    Socket,
    Schemas,
    Oidc,
    A2a,
    MailPolicies,
}

struct Making<'a> {
    config: &'a Config,
    resolver: &'a Arc<dyn Resolver>,
    clock: &'a Clock,
    metrics: &'a Metrics,
}

impl Making<'_> {
    fn peer(&self, peer: &Peer) -> Result<PeerSettings, FileFault> {
        let filter = if peer.allow_private {
            AddressFilter::any()
        } else {
            AddressFilter::public()
        };
        let identity = peer.client_cert.clone().zip(peer.client_key.clone());
        Ok(PeerSettings {
            client: self.client(filter, peer.trusted_ca.clone(), identity, Kind::Peer)?,
            authorization: peer.authorization.clone(),
            batch: peer.batch,
        })
    }

    fn client(
        &self,
        filter: AddressFilter,
        trusted: Option<PathBuf>,
        identity: Option<(PathBuf, PathBuf)>,
        kind: Kind,
    ) -> Result<GuardedClient, FileFault> {
        let tls = &self.config.tls;
        let own = tls
            .client_cert_file
            .clone()
            .zip(tls.client_key_file.clone());
        let (versions, plain, identity, purpose) = match kind {
            Kind::Peer => (
                TlsVersions::Only13,
                Plain::Refused,
                identity.or(own),
                "peer",
            ),
            Kind::Webhook => (TlsVersions::From12, Plain::Inside, None, "webhook"),
            Kind::Socket => (TlsVersions::From12, Plain::Refused, None, "websocket"),
            Kind::Schemas => (TlsVersions::From12, Plain::Refused, None, "schemas"),
            Kind::Oidc => (TlsVersions::From12, Plain::Refused, None, "oidc"),
            Kind::A2a => (TlsVersions::From12, Plain::Inside, None, "a2a"),
            Kind::MailPolicies => (TlsVersions::From12, Plain::Refused, None, "mta-sts"),
        };
        let options = GuardOptions {
            resolver: self.resolver.clone(),
            filter,
            trusted_ca_files: tls
                .trusted_ca_file
                .clone()
                .into_iter()
                .chain(trusted)
                .collect(),
            client_identity: identity,
            tls: versions,
            plain,
            times: Times::default(),
            clock: self.clock.clone(),
        };
        let client = match kind {
            Kind::Socket => GuardedClient::for_upgrades(options)?,
            _ => GuardedClient::new(options)?,
        };
        Ok(client.metered(self.metrics.clone(), purpose))
    }
}
