//! The gateway: everything is constructed and spawned here, in layer order, and stopped in reverse.

mod a2a;
mod bridge;
mod calls;
mod credentials;
mod disk;
mod listeners;
mod live;
mod mail;
mod members;
mod outgoing;
mod rules;
mod small;
mod tasks;
mod topics;
mod watching;
#[cfg(test)]
mod week;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::admission::Admission;
use crate::auth::SenderCheck;
use crate::clock::Clock;
use crate::config::{Config, DeliveryPath};
use crate::endpoint::http::server::{
    BodyReader, BodyTimes, ConnectionLimits, ConnectionTimes, Server, ServerFault, ServerOptions,
};
use crate::endpoint::http::{AdminGate, Api, Health};
use crate::endpoint::smtp::MailListenerFault;
use crate::events::Events;
use crate::intake::{Express, Intake, LocalNames, Offer, Rules};
use crate::lifecycle::{Lifecycle, LifecycleFault, ServiceManager, Signals, Stage};
use crate::net::{DnsSetupFault, FileFault};
use crate::policy::{Policies, PolicyFaults};
use crate::protocol::Limits;
use crate::queue::{self, QueueLimits, QueueParts, QueueRules, Schedule, Share};
use crate::schema::{OpenFault, Schemas};
use crate::store::{
    self, Messenger, OpenError, SealFault, Sealer, Space, Store, StoreLock, StoreOptions,
};
use crate::telemetry::{Board, Metrics};
use crate::tls::{TlsFault, TlsIdentity};
use crate::topics::Topics;
use credentials::Credentials;
use listeners::Listeners;
use members::Members;
use outgoing::Outgoing;
use small::{address_rate, edge, sealer};
use tokio::sync::{mpsc, watch};

/// How often the certificate files are looked at.
const CERTIFICATE_EVERY: Duration = Duration::from_secs(60);
/// The time to cut connections that outlast the grace.
const CUTTING: Duration = Duration::from_secs(1);

/// The bodies being received hold at most this much memory together; more are asked to come again.
const BODY_MEMORY: usize = 256 * 1024 * 1024;

/// Why a gateway cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The certificate or its key.
    #[error(transparent)]
    Tls(#[from] TlsFault),
    /// The key that seals stored credentials.
    #[error("secrets.key_file: {0}")]
    Secrets(#[from] SealFault),
    /// The database.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The schemas.
    #[error("schemas: {0}")]
    Schemas(#[from] OpenFault),
    /// Who is asked for names.
    #[error("dns: {0}")]
    Dns(#[from] DnsSetupFault),
    /// A file of certificates for connections to others.
    #[error(transparent)]
    Outgoing(#[from] FileFault),
    /// The policies.
    #[error("{0}")]
    Policies(PolicyFaults),
    /// The disk of the database.
    #[error("{folder}: {cause}")]
    Disk {
        /// The folder.
        folder: PathBuf,
        /// The system's words.
        cause: std::io::Error,
    },
    /// An address that cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ServerFault),
    /// The address for mail.
    #[error(transparent)]
    Mail(#[from] MailListenerFault),
}

/// A gateway that listens and works.
pub struct Gateway {
    lifecycle: Lifecycle,
    grace: Duration,
    https: SocketAddr,
    admin: Option<SocketAddr>,
    ops: Option<SocketAddr>,
    _lock: Option<StoreLock>,
}

impl Gateway {
    /// Opens the store, binds the listeners and spawns the workers.
    ///
    /// # Errors
    /// [`StartError`] says what the operator can do.
    pub async fn start(config: &Config, clock: Clock) -> Result<Self, StartError> {
        let metrics = Metrics::new();
        let identity = TlsIdentity::load(&config.tls.cert_file, &config.tls.key_file)?;
        let sealer = sealer(config)?;
        let database = config.store.database.clone();
        let lock = database.file().map(StoreLock::take).transpose()?;
        let options = StoreOptions { database };
        let (store, committer) =
            store::open(&options, Events::default(), metrics.clone(), clock.clone()).await?;
        let admission = rules::admission(config, &clock, &metrics);
        let committer = committer.reporting_to(&admission);
        let space = disk::space(config, &metrics)?;
        let outgoing = Outgoing::new(config, &clock, &metrics)?;
        let senders = outgoing.sender_check(config, &clock, &metrics)?;
        let policies = rules::policies(config, &clock, &metrics)?;
        let schemas = rules::schemas(config, &store, (&clock, &metrics), &outgoing).await?;
        let parts = Parts {
            config,
            clock: &clock,
            metrics: &metrics,
            store: &store,
            space: &space,
            outgoing: &outgoing,
            admission: &admission,
            senders: &senders,
            schemas: &schemas,
            policies: &policies,
        };
        let board = Board::new(clock.clone());
        let mut members = Members::new(&store, &clock, &board, parts.goes_early());
        let tools = (&store, &clock);
        let credentials = Credentials::new(config, tools, sealer.as_ref(), members.node)
            .with_others(config, (&clock, &metrics), &outgoing)?;
        let (intake, offers) = parts.intake(&credentials, sealer.as_ref());
        let live = live::live(config, (&store, &clock, &metrics), members.node);
        let live = live.telling(intake.clone());
        let share = members.share.clone();
        let topics = parts.topics(&intake);
        let doing = (intake.clone(), topics.clone());
        let manager = parts.manager(doing, (offers, share), (sealer.clone(), &board));
        let mut lifecycle = Lifecycle::new(clock.clone());
        let draining = lifecycle.draining();
        let api = parts.api(
            (intake, topics.clone()),
            (&credentials, sealer, board),
            (draining.clone(), live.clone()),
        );
        let health = parts.health(&identity, draining);
        let rate = address_rate(config, &clock);
        let listeners = parts.bind(&identity).await?;
        let mail = mail::Mail::bind(&parts, &identity, &api.intake).await?;

        let base = lifecycle.stage("store");
        base.spawn("committer", committer.run(base.stop()));
        let joined = lifecycle.stage("members");
        let work = lifecycle.stage("workers");
        credentials.spawn(tools, &joined, &work);
        work.spawn("rate", endless(rate.clone().run(work.stop())));
        let every = CERTIFICATE_EVERY;
        let fresh = identity.keep_fresh(every, lifecycle.reloads(), clock.clone(), work.stop());
        work.spawn("certificate", endless(fresh));
        parts.spawn_upkeep(&work, members.node, lifecycle.reloads());
        live::spawn(&work, live, topics);
        parts.spawn_tasks(&work, &api);
        work.spawn("queue", manager.run(work.stop()));
        let doors = lifecycle.stage("listeners");
        let (https, admin, ops) = listeners.addresses();
        let edge = edge((&clock, &metrics), admission);
        members.join(&joined, &clock).await;
        live::dial(&doors, &api, &outgoing, &members.share);
        mail.open(&doors);
        listeners.open(&doors, (api, health), &edge, &rate);
        Ok(Self {
            lifecycle,
            grace: config.limits.shutdown_grace,
            https,
            admin,
            ops,
            _lock: lock,
        })
    }

    /// The address of the HTTPS listener.
    #[must_use]
    pub fn https(&self) -> SocketAddr {
        self.https
    }

    /// The address of the operators' listener.
    #[must_use]
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The address of the ops listener.
    #[must_use]
    pub fn ops(&self) -> Option<SocketAddr> {
        self.ops
    }

    /// Works until a signal or a fault, then drains and stops.
    ///
    /// # Errors
    /// [`LifecycleFault`]: what ended it other than a signal.
    pub async fn run(
        self,
        signals: Signals,
        manager: ServiceManager,
    ) -> Result<(), LifecycleFault> {
        manager.ready();
        self.lifecycle.run(signals, manager, self.grace).await
    }
}

/// A task that has no fault of its own.
async fn endless(task: impl Future<Output = ()>) -> Result<(), std::convert::Infallible> {
    task.await;
    Ok(())
}

/// What the parts of a gateway are made of.
struct Parts<'a> {
    config: &'a Config,
    clock: &'a Clock,
    metrics: &'a Metrics,
    store: &'a Store,
    space: &'a Space,
    outgoing: &'a Outgoing,
    admission: &'a Admission,
    senders: &'a SenderCheck,
    schemas: &'a Schemas,
    policies: &'a Policies,
}

impl Parts<'_> {
    /// Spawns what looks after the store and the doors.
    fn spawn_upkeep(&self, work: &Stage, node: uuid::Uuid, reloads: watch::Receiver<u64>) {
        let policies = self.policies.clone().run(reloads.clone(), work.stop());
        work.spawn("policies", endless(policies));
        let schemas = self.schemas.clone().run(reloads, work.stop());
        work.spawn("schemas", endless(schemas));
        self.spawn_watch(work);
        let admission = self.admission.clone().run(work.stop());
        work.spawn("admission", endless(admission));
        let senders = self.senders.clone().run(work.stop());
        work.spawn("senders", endless(senders));
        self.spawn_sweeper(work, node);
        if self.store.is_shared() {
            let messenger = Messenger::new(self.store.clone(), self.clock.clone());
            work.spawn("messenger", endless(messenger.run(work.stop())));
        }
        work.spawn(
            "space",
            endless(self.space.clone().run(self.clock.clone(), work.stop())),
        );
    }

    fn names(&self) -> Arc<LocalNames> {
        Arc::new(LocalNames {
            domains: self.config.domains.iter().cloned().collect(),
            postmaster: self.config.postmaster.clone(),
            abuse: self.config.abuse.clone(),
            catch_all: self.config.catch_all.clone(),
            people: bridge::people(self.config),
        })
    }

    /// Whether messages may be sent before they are on disk: the usual path says so, or a rule. The
    /// other gateways of a database have to know it before; there a rule that comes later does not
    /// change it.
    fn goes_early(&self) -> bool {
        self.config.delivery.path == DeliveryPath::Immediate || self.policies.current().goes_early()
    }

    fn health(
        &self,
        identity: &TlsIdentity,
        draining: tokio_util::sync::CancellationToken,
    ) -> Health {
        let tools = (self.metrics.clone(), self.clock.clone());
        let stored = (self.store.clone(), self.space.clone());
        Health::new(stored, identity.clone(), tools.0, tools.1, draining)
            .with_admission(self.admission.clone())
            .with_policies(self.policies.clone())
    }

    /// The door, and what it offers to the queue before it is on disk.
    fn intake(
        &self,
        credentials: &Credentials,
        sealer: Option<&Sealer>,
    ) -> (Intake, mpsc::Receiver<Offer>) {
        let config = self.config;
        let rules = Rules {
            limits: Limits {
                message_size: config.limits.message_size,
                recipients: config.limits.recipients,
            },
            give_up: config.delivery.retry.give_up,
        };
        let stored = (self.store.clone(), self.space.clone());
        let tools = (self.clock.clone(), self.metrics.clone());
        let intake = Intake::new(stored, self.names(), rules, tools.0, tools.1)
            .with_sender_check(self.senders.clone())
            .with_rates(credentials.rates.clone())
            .with_audit(credentials.audit.clone())
            .with_rules(
                self.policies.clone(),
                self.schemas.clone(),
                config.delivery.path,
            )
            .with_admission(self.admission.clone());
        let intake = match &config.signing {
            Some(_) => intake.that_signs(),
            None => intake,
        };
        let intake = mail::door(config, intake, sealer);
        let (express, offers) = Express::channel();
        match !self.store.is_shared() || self.goes_early() {
            true => (intake.with_express(express), offers),
            false => (intake, offers),
        }
    }

    fn manager(
        &self,
        (intake, topics): (Intake, Topics),
        (offers, share): (mpsc::Receiver<Offer>, Share),
        (sealer, board): (Option<Sealer>, &Board),
    ) -> queue::Manager {
        let config = self.config;
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let rates = config.peers.iter().filter_map(|(domain, peer)| {
            let rate = peer.rate.as_ref()?;
            Some((domain.clone(), rate.count, rate.period))
        });
        let rules = QueueRules {
            schedule: Schedule {
                initial: config.delivery.retry.initial,
                max: config.delivery.retry.max,
                attempts: config.delivery.retry.attempts,
                give_up: config.delivery.retry.give_up,
            },
            limits: QueueLimits {
                window: config.limits.queue_window,
                concurrency: config.delivery.concurrency,
                to_gateways: config.delivery.gateway_concurrency,
                to_mail: bridge::concurrency(config),
            },
            bounces: NonZeroU32::new(count(config.limits.bounces)).unwrap_or(NonZeroU32::MIN),
            delay_notice: config.delivery.delay_notice,
            rates: rates.collect(),
            mail_rate: bridge::rate(config),
            domain: config.domains[0].clone(),
        };
        let (store, clock, metrics) = (self.store, self.clock, self.metrics);
        let parts = QueueParts {
            store: store.clone(),
            transports: self.transports((sealer, board.standings()), &topics),
            topics,
            intake,
            clock: clock.clone(),
            metrics: metrics.clone(),
            offers,
            post: board.place("queue"),
            share,
        };
        queue::manager(parts, rules)
    }

    fn api(
        &self,
        (intake, topics): (Intake, Topics),
        (credentials, sealer, board): (&Credentials, Option<Sealer>, Board),
        (draining, live): (tokio_util::sync::CancellationToken, live::Live),
    ) -> Api {
        let config = self.config;
        let tools = (self.store, self.clock);
        let movement = (&intake, &live, &topics);
        let end = (draining.clone(), self.names());
        let doors = (&intake, credentials);
        Api {
            a2a: a2a::endpoint(
                self,
                doors,
                sealer.as_ref(),
                (self.names(), draining.clone()),
            ),
            sockets: live::sockets(config, movement, tools, credentials, end),
            intake,
            topics,
            store: self.store.clone(),
            auth: credentials.auth.clone(),
            schemas: self.schemas.clone(),
            names: self.names(),
            main_domain: config.domains[0].clone(),
            clock: self.clock.clone(),
            sealer,
            admin: AdminGate {
                own_listener: config.listen.admin.is_some(),
                from: config.admin.from.clone().into(),
            },
            reader: BodyReader::new(
                BodyTimes {
                    progress: config.limits.body_timeout,
                    total: config.limits.request_timeout,
                },
                BODY_MEMORY.max(2 * config.limits.message_size),
                self.clock.clone(),
            ),
            draining,
            board,
            node: live.node(),
            live,
            discovery: self.outgoing.discovery.clone(),
            published: Arc::new(config.advertisement()),
            policies: self.policies.clone(),
            audit: credentials.audit.clone(),
            guesses: credentials.guesses.clone(),
            tiers: credentials.tiers.clone(),
            link_life: config.smtp.link_life,
        }
    }

    async fn bind(&self, identity: &TlsIdentity) -> Result<Listeners, StartError> {
        let listen = &self.config.listen;
        let tls = || Some(identity.server_config());
        let tools = || (self.clock.clone(), self.metrics.clone());
        // Peers may show a certificate there.
        let asking = Some(identity.asking_config());
        let https = Server::bind(listen.https, self.options("https"), asking, tools()).await?;
        let admin = match listen.admin {
            Some(address) => {
                Some(Server::bind(address, self.direct("admin"), tls(), tools()).await?)
            }
            None => None,
        };
        let ops = match listen.ops {
            Some(address) => Some(Server::bind(address, self.direct("ops"), None, tools()).await?),
            None => None,
        };
        Ok(Listeners { https, admin, ops })
    }

    /// A listener for everybody, perhaps behind proxies.
    fn options(&self, name: &'static str) -> ServerOptions {
        let listen = &self.config.listen;
        ServerOptions {
            trusted_proxies: listen.trusted_proxies.clone().into(),
            proxy_protocol: listen.proxy_protocol,
            ..self.direct(name)
        }
    }

    /// A listener that is reached directly.
    fn direct(&self, name: &'static str) -> ServerOptions {
        let limits = &self.config.limits;
        ServerOptions {
            limits: ConnectionLimits {
                connections: limits.connections,
                per_client: limits.connections_per_address,
                head_bytes: limits.header_size,
                ..ConnectionLimits::default()
            },
            times: ConnectionTimes {
                handshake: limits.handshake_timeout,
                head: limits.header_timeout,
                idle: limits.idle_timeout,
                // A little less than the stage has, so that cutting connections is not a fault.
                grace: limits.shutdown_grace.saturating_sub(CUTTING),
                ..ConnectionTimes::default()
            },
            ..ServerOptions::new(name)
        }
    }
}
