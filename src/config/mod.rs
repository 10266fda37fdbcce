//! The configuration: the only reader of files and of the environment.
//!
//! A value comes from the default, else from the YAML file, else from the environment
//! (`AMTPD__LIMITS__MESSAGE_SIZE=1MiB`); the last one wins. Promises:
//!
//! - Every fault is told at once, each with its place and what to do. What loads has no fault.
//! - A key that means nothing is a fault, never ignored.
//! - Secrets are read while loading and do not print themselves.
//!
//! Each section is a list of keys in its own file. From that list come the struct, its reading, the
//! reference page and the file that `amtpd init` writes.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

mod a2a;
mod a2a_client;
mod admin;
mod agentry;
mod alerts;
mod bridge;
mod database;
mod delivery;
mod dns;
mod document;
mod environment;
mod fault;
mod features;
mod issuers;
mod kind;
mod limits;
mod listen;
mod live;
mod log;
mod names;
mod net;
mod peers;
mod policies;
mod profile;
mod published;
mod reading;
mod reference;
mod retention;
mod schema;
mod schemas;
mod secret;
mod secrets;
mod section;
mod signing;
mod smtp;
mod store;
mod template;
mod tls;
mod units;
mod unknown;

#[cfg(test)]
mod tests;

pub use a2a::A2a;
pub use a2a_client::A2aClient;
pub use admin::Admin;
pub use agentry::AgentryKeys;
pub use alerts::Alerts;
pub use bridge::{Bridge, Bridging, Dkim, Smarthost};
pub use database::{Database, PostgresUrl};
pub use delivery::{Delivery, Retry};
pub use dns::Dns;
pub use environment::Environment;
pub use fault::{ConfigFaults, Fault, Place};
pub use features::Features;
pub use issuers::Issuer;
pub use kind::{
    AssumedVersion, DeliveryPath, LegacyCard, LogFormat, MailFace, MailServer, MailTls,
    RegistryEntry, SmarthostTls, UnknownSchemas,
};
pub use limits::Limits;
pub use listen::Listen;
pub use live::Live;
pub use log::Log;
pub use net::{Allow, Net};
pub use peers::Peer;
pub use policies::Policies;
pub use profile::{Profile, ProfileFault, user_data_folder};
pub use published::{FEATURES, RECORD_TTL, advertisement};
pub use reading::Places;
pub use reference::reference;
pub use retention::Retention;
pub use schema::schema;
pub use schemas::Schemas;
pub use secret::Secret;
pub use secrets::Secrets;
pub use signing::Signing;
pub use smtp::Smtp;
pub use store::Store;
pub use template::template;
pub use tls::Tls;
pub use units::{Rate, Size, Span, UnitFault};

pub(crate) use document::{Entry, Lines, Node, Origin, Shape, lines, locate, parse_at_most};
pub(crate) use unknown::closest;

use crate::protocol::{Address, Domain, GatewayUrl};
use kind::AgentRef;
use names::Names;
use reading::Reading;
use section::Section;

/// Every section, in the order of the reference page; the top level first.
const SECTIONS: [&Section; 32] = [
    &Names::TABLE,
    &Listen::TABLE,
    &Tls::TABLE,
    &Dns::TABLE,
    &Net::TABLE,
    &Allow::TABLE,
    &peers::TABLE,
    &Peer::TABLE,
    &Store::TABLE,
    &Secrets::TABLE,
    &Signing::TABLE,
    &Admin::TABLE,
    &AgentryKeys::TABLE,
    &issuers::AUTH,
    &issuers::TABLE,
    &Issuer::TABLE,
    &Policies::TABLE,
    &Schemas::TABLE,
    &Delivery::TABLE,
    &Retry::TABLE,
    &A2aClient::TABLE,
    &Bridge::TABLE,
    &Smarthost::TABLE,
    &Dkim::TABLE,
    &Live::TABLE,
    &a2a::Keys::TABLE,
    &Limits::TABLE,
    &Smtp::TABLE,
    &Retention::TABLE,
    &Alerts::TABLE,
    &Log::TABLE,
    &Features::TABLE,
];

/// A whole, valid configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The domains this gateway is responsible for; never empty.
    pub domains: Vec<Domain>,
    /// Where this gateway is reached.
    pub gateway_url: GatewayUrl,
    /// The agent that reads mail to `postmaster`.
    pub postmaster: Option<Address>,
    /// The agent that reads mail to `abuse`.
    pub abuse: Option<Address>,
    /// The agent that reads mail to agents nobody knows.
    pub catch_all: Option<Address>,
    /// Where connections are taken.
    pub listen: Listen,
    /// The certificates of this gateway, and whose it believes.
    pub tls: Tls,
    /// Who is asked for names.
    pub dns: Dns,
    /// Where we connect to.
    pub net: Net,
    /// What single domains need.
    pub peers: BTreeMap<Domain, Peer>,
    /// Where messages are kept.
    pub store: Store,
    /// The key that seals credentials in the database.
    pub secrets: Option<Secrets>,
    /// The key that signs what goes to other domains.
    pub signing: Option<Signing>,
    /// Who may use the admin API.
    pub admin: Admin,
    /// How keys that came from Agentry are known.
    pub agentry: Option<AgentryKeys>,
    /// Whose tokens are believed beside our own.
    pub issuers: BTreeMap<Domain, Issuer>,
    /// What may pass; without it the usual policy holds.
    pub policies: Option<Policies>,
    /// What payloads are checked against.
    pub schemas: Schemas,
    /// How messages get to their recipients.
    pub delivery: Delivery,
    /// How A2A agents of others are asked.
    pub a2a_client: A2aClient,
    /// Mail to people.
    pub bridge: Option<Bridging>,
    /// Connections over which agents are sent their mail.
    pub live: Live,
    /// Agents as A2A servers; off without it.
    pub a2a: Option<A2a>,
    /// How much of everything.
    pub limits: Limits,
    /// How mail is taken.
    pub smtp: Smtp,
    /// How long what is over is kept.
    pub retention: Retention,
    /// When it says that it is behind.
    pub alerts: Alerts,
    /// What is logged.
    pub log: Log,
    /// Switches for gradual rollout.
    pub features: Features,
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// Every fault there is.
    pub fn load(path: &Path, environment: &Environment) -> Result<Self, ConfigFaults> {
        Self::load_with_places(path, environment).map(|(config, _)| config)
    }

    /// Reads a configuration, and remembers where each value was written.
    ///
    /// # Errors
    /// Every fault there is.
    pub fn load_with_places(
        path: &Path,
        environment: &Environment,
    ) -> Result<(Self, Places), ConfigFaults> {
        let one = |fault| ConfigFaults::new(vec![fault]);
        let text = fs::read_to_string(path).map_err(|error| one(unreadable(path, &error)))?;
        let mut reading = Reading::start(path, text, environment, &SECTIONS).map_err(one)?;
        let config = Self::read(&mut reading);
        let (faults, places) = reading.finish();
        match config {
            Some(config) if faults.is_empty() => Ok((config, places)),
            _ => Err(ConfigFaults::new(faults)),
        }
    }

    fn read(reading: &mut Reading<'_>) -> Option<Self> {
        let names = Names::read(reading);
        let listen = Listen::read(reading);
        let tls = Tls::read(reading);
        let dns = Dns::read(reading);
        let net = Net::read(reading);
        let peers = peers::read(reading);
        let store = Store::read(reading);
        let secrets = reading.maybe(&Secrets::TABLE, Secrets::read);
        let signing = reading.maybe(&Signing::TABLE, Signing::read);
        let admin = Admin::read(reading);
        let agentry = reading.maybe(&AgentryKeys::TABLE, AgentryKeys::read);
        let issuers = issuers::read(reading);
        let policies = reading.maybe(&Policies::TABLE, Policies::read);
        let schemas = Schemas::read(reading);
        let delivery = Delivery::read(reading);
        let a2a_client = A2aClient::read(reading);
        let bridge = bridge::read(reading);
        let live = Live::read(reading);
        let a2a = a2a::read(reading);
        let limits = Limits::read(reading);
        let smtp = Smtp::read(reading);
        let retention = Retention::read(reading);
        let alerts = Alerts::read(reading);
        let log = Log::read(reading);
        let features = Features::read(reading);
        if let Some(listen) = &listen {
            check_listeners(listen, reading);
        }
        check_sections((tls.as_ref(), delivery.as_ref(), signing.as_ref()), reading);
        let names = names?;
        check_domains(&names.domains, reading);
        if let Some(Some(bridge)) = &bridge {
            let seals = !matches!(secrets, Some(None));
            bridge.check(&names.domains, seals, reading);
        }
        check_mail(listen.as_ref(), &names, reading);
        if let Some(issuers) = &issuers {
            issuers::check(issuers, &names.gateway_url, reading);
        }
        let ours = |domain: &&Domain| names.domains.contains(domain);
        for domain in peers.iter().flat_map(BTreeMap::keys).filter(ours) {
            let text = "is a domain of this gateway, and so no peer; remove it";
            reading.fault_of(&format!("peers.{domain}"), text.to_owned());
        }
        let mut agent = |key, agent| resolve(agent, key, &names.domains, reading);
        let a2a = a2a?.map(|keys| {
            let default_agent = agent("a2a.default_agent", keys.default_agent.clone());
            keys.with(default_agent)
        });
        Some(Self {
            postmaster: agent("postmaster", names.postmaster),
            abuse: agent("abuse", names.abuse),
            catch_all: agent("catch_all", names.catch_all),
            gateway_url: names.gateway_url,
            domains: names.domains,
            listen: listen?,
            tls: tls?,
            dns: dns?,
            net: net?,
            peers: peers?,
            store: store?,
            secrets: secrets?,
            signing: signing?,
            admin: admin?,
            agentry: agentry?,
            issuers: issuers?,
            policies: policies?,
            schemas: schemas?,
            delivery: delivery?,
            a2a_client: a2a_client?,
            bridge: bridge?,
            live: live?,
            a2a,
            limits: limits?,
            smtp: smtp?,
            retention: retention?,
            alerts: alerts?,
            log: log?,
            features: features?,
        })
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Fault {
    let file = path.to_owned();
    Fault {
        place: Place::File {
            file,
            line: None,
            column: None,
        },
        key: String::new(),
        text: format!("cannot be read: {error}"),
    }
}

fn check_domains(domains: &[Domain], reading: &mut Reading<'_>) {
    let mut seen = HashSet::new();
    for domain in domains.iter().filter(|domain| !seen.insert(*domain)) {
        reading.fault_of("domains", format!("names {domain} twice; keep one"));
    }
}

/// The address of an agent that must be ours.
fn resolve(
    agent: Option<AgentRef>,
    key: &str,
    domains: &[Domain],
    reading: &mut Reading<'_>,
) -> Option<Address> {
    let address = match agent? {
        AgentRef::Name(name) => Address::of_agent(&name, domains.first()?),
        AgentRef::Address(address) => address,
    };
    if !domains.contains(address.domain()) {
        let text = format!("\"{address}\" is not in one of our domains; name a local agent");
        reading.fault_of(key, text);
        return None;
    }
    Some(address)
}

/// What does not fit together within a section.
fn check_sections(
    (tls, delivery, signing): (Option<&Tls>, Option<&Delivery>, Option<&Option<Signing>>),
    reading: &mut Reading<'_>,
) {
    if let Some(tls) = tls {
        tls.check(reading);
    }
    if let Some(delivery) = delivery {
        delivery.retry.check(reading);
    }
    if let Some(Some(signing)) = signing {
        signing.check(reading);
    }
}

fn check_listeners(listen: &Listen, reading: &mut Reading<'_>) {
    check_proxies(listen, reading);
    let taken = [
        ("https", Some(listen.https)),
        ("admin", listen.admin),
        ("ops", listen.ops),
        ("smtp", listen.smtp),
    ];
    for (index, (name, address)) in taken.iter().enumerate() {
        let earlier = taken[..index]
            .iter()
            .find(|(_, other)| clash(*address, *other));
        if let (Some(address), Some((other, _))) = (address, earlier) {
            let text = format!("\"{address}\" is taken by listen.{other}; use another port");
            reading.fault_of(&format!("listen.{name}"), text);
        }
    }
}

/// Mail about the server needs somebody who reads it.
fn check_mail(listen: Option<&Listen>, names: &Names, reading: &mut Reading<'_>) {
    if listen.is_some_and(|listen| listen.smtp.is_some()) && names.postmaster.is_none() {
        let text = "needs postmaster: name the agent that gets mail about this server";
        reading.fault_of("listen.smtp", text.to_owned());
    }
}

fn check_proxies(listen: &Listen, reading: &mut Reading<'_>) {
    if listen.proxy_protocol && listen.trusted_proxies.is_empty() {
        let text = "means nothing while listen.trusted_proxies is empty; name the proxies there";
        reading.fault_of("listen.proxy_protocol", text.to_owned());
    }
}

/// Whether two listeners would get in each other's way. Port 0 is a different free port each time.
fn clash(one: Option<SocketAddr>, other: Option<SocketAddr>) -> bool {
    let (Some(one), Some(other)) = (one, other) else {
        return false;
    };
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && (any || one.ip() == other.ip())
}
