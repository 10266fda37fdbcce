//! The parts of a gateway in this process, put together as the daemon does, without listeners.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use amtpd::admission::{Admission, AdmissionRules};
use amtpd::auth::audit::Audit;
use amtpd::auth::{Activity, Authenticator, Guesses, SenderRates};
use amtpd::clock::Clock;
use amtpd::config::{Database, DeliveryPath, Rate};
use amtpd::discovery::Discovery;
use amtpd::endpoint::http::edge::Edge;
use amtpd::endpoint::http::rate::AddressRate;
use amtpd::endpoint::http::server::{BodyReader, BodyTimes, Connection};
use amtpd::endpoint::http::{self, AdminGate, Api, Door, Health};
use amtpd::endpoint::websocket::{Room, Tools as Sockets};
use amtpd::events::Events;
use amtpd::intake::{Express, Intake, LocalNames, Rules};
use amtpd::live::{Live, LiveRules};
use amtpd::net::HickoryResolver;
use amtpd::policy::Policies;
use amtpd::protocol::{Advertisement, Domain, GatewayUrl, Limits};
use amtpd::queue::{self, QueueLimits, QueueParts, QueueRules, Schedule, Share, Transports};
use amtpd::schema::{SchemaOptions, Schemas};
use amtpd::store::{self, Space, Store, StoreError, StoreOptions};
use amtpd::telemetry::{Board, Metrics};
use amtpd::tls::TlsIdentity;
use amtpd::topics::Topics;
use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::loopback::Loopback;

const DOMAIN: &str = "load.test";
const ADMIN_KEY: &str = "adm_the-operator-of-this-benchmark";
const HOUR: Duration = Duration::from_secs(3_600);

/// An agent with its key.
pub(crate) struct Agent {
    pub(crate) address: String,
    pub(crate) authorization: String,
}

/// A gateway without listeners and without a running queue.
pub(crate) struct Gateway {
    router: Router,
    intake: Intake,
    store: Store,
    tools: Tools,
    loopback: Arc<Loopback>,
    stop: CancellationToken,
    tasks: TaskTracker,
    committer: JoinHandle<Result<(), StoreError>>,
}

/// What every part holds.
#[derive(Clone)]
struct Tools {
    clock: Clock,
    metrics: Metrics,
    board: Board,
}

impl Gateway {
    /// With an empty store in `folder`.
    pub(crate) async fn start(folder: &Path) -> Result<Self> {
        let clock = Clock::system();
        let tools = Tools {
            metrics: Metrics::new(),
            board: Board::new(clock.clone()),
            clock,
        };
        let options = StoreOptions {
            database: Database::Sqlite(folder.join("amtpd.db")),
        };
        let (metrics, clock) = (tools.metrics.clone(), tools.clock.clone());
        let (store, committer) = store::open(&options, Events::default(), metrics, clock).await?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let committer = tasks.spawn(committer.run(stop.clone()));
        let space = Space::watch(Some(folder.to_owned()), 0, tools.metrics.clone())?;
        let judges = tools.judges(&store).await?;
        let intake = tools.intake((store.clone(), space.clone()), judges.clone())?;
        let health = Health::new(
            (store.clone(), space),
            identity(folder)?,
            tools.metrics.clone(),
            tools.clock.clone(),
            stop.clone(),
        );
        let stored = (store.clone(), judges);
        let api = tools.api(intake.clone(), stored, stop.clone())?;
        let router = http::router(api, health, Door::Public);
        Ok(Self {
            router: tools.around(router),
            intake,
            store,
            tools,
            loopback: Arc::default(),
            stop,
            tasks,
            committer,
        })
    }

    /// Registers an agent that polls.
    pub(crate) async fn register(&mut self, name: &str) -> Result<Agent> {
        let body = serde_json::json!({ "address": name, "delivery_mode": "pull" }).to_string();
        let request = Request::post("/v1/admin/agents")
            .header("x-admin-key", ADMIN_KEY)
            .header("content-type", "application/json")
            .body(Body::from(body))?;
        let answer = exchange(self.router.clone(), request, StatusCode::CREATED).await?;
        let answer: serde_json::Value = serde_json::from_slice(&answer)?;
        let text = |member: &str| {
            let value = answer["agent"][member].as_str();
            value.map(str::to_owned).context("no agent")
        };
        Ok(Agent {
            address: text("address")?,
            authorization: format!("Bearer {}", text("api_key")?),
        })
    }

    /// Hands a message in.
    pub(crate) fn submit(
        &self,
        authorization: &str,
        body: String,
    ) -> impl Future<Output = Result<()>> + Send + 'static {
        let request = Request::post("/v1/messages")
            .header("authorization", authorization)
            .header("content-type", "application/json")
            .header("content-length", body.len())
            .body(Body::from(body));
        let router = self.router.clone();
        async move {
            exchange(router, request?, StatusCode::ACCEPTED).await?;
            Ok(())
        }
    }

    /// Runs the queue until so many messages are delivered and settled.
    pub(crate) async fn deliver(&self, messages: usize) -> Result<()> {
        let stop = CancellationToken::new();
        let (_express, offers) = Express::channel();
        let Tools {
            clock,
            metrics,
            board,
        } = self.tools.clone();
        let parts = QueueParts {
            store: self.store.clone(),
            intake: self.intake.clone(),
            transports: Transports {
                peer: self.loopback.clone(),
                webhook: self.loopback.clone(),
                mail: None,
                list: self.loopback.clone(),
                group: self.loopback.clone(),
                standings: board.standings(),
            },
            topics: Topics::new((self.store.clone(), self.intake.clone()), clock.clone()),
            clock,
            metrics,
            offers,
            post: board.place("queue"),
            share: Share::whole(),
        };
        let queue = self
            .tasks
            .spawn(queue::manager(parts, rules()?).run(stop.clone()));
        self.loopback.took(messages).await;
        // What is under way is settled before the queue ends.
        stop.cancel();
        queue.await??;
        Ok(())
    }

    /// Ends when everything is on disk.
    pub(crate) async fn stop(self) -> Result<()> {
        self.stop.cancel();
        self.committer.await??;
        Ok(())
    }
}

impl Tools {
    fn names(&self) -> Result<Arc<LocalNames>> {
        Ok(Arc::new(LocalNames {
            domains: [domain()?].into(),
            ..LocalNames::default()
        }))
    }

    /// What the daemon asks of every message, without rules and schemas of an operator.
    async fn judges(&self, store: &Store) -> Result<(Policies, Schemas)> {
        let (clock, metrics) = (self.clock.clone(), &self.metrics);
        let counters = metrics.policies().clone();
        let policies = Policies::load(None, vec![domain()?], clock.clone(), counters)
            .map_err(|faults| anyhow::anyhow!("{faults}"))?;
        let options = SchemaOptions::default();
        let schemas = Schemas::open(options, store.clone(), clock, metrics).await?;
        Ok((policies, schemas))
    }

    fn intake(
        &self,
        stored: (Store, Space),
        (policies, schemas): (Policies, Schemas),
    ) -> Result<Intake> {
        let rules = Rules {
            limits: Limits::default(),
            give_up: 24 * HOUR,
        };
        let (clock, metrics) = (self.clock.clone(), self.metrics.clone());
        let many = Rate {
            count: NonZeroU32::MAX,
            period: Duration::from_secs(1),
        };
        let tiers = BTreeMap::new();
        let rates = SenderRates::new((&many, &many), &tiers, clock.clone());
        let intake = Intake::new(stored, self.names()?, rules, clock, metrics);
        Ok(intake
            .with_rates(rates)
            .with_rules(policies, schemas, DeliveryPath::Durable))
    }

    fn api(
        &self,
        intake: Intake,
        (store, judges): (Store, (Policies, Schemas)),
        draining: CancellationToken,
    ) -> Result<Api> {
        let clock = &self.clock;
        // Nothing is denied here: nobody writes what it is handed.
        let (audit, _auditor) = Audit::new(store.clone(), clock.clone(), "main".to_owned());
        let activity = Activity::default();
        // Never asked: nothing here comes from a stranger.
        let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 53));
        let resolver = HickoryResolver::new(&[nobody], HOUR)?;
        let gateway: GatewayUrl = format!("https://{DOMAIN}").parse()?;
        let live = Live::new(
            (store.clone(), clock.clone()),
            self.metrics.live().clone(),
            LiveRules {
                heartbeat: Duration::from_secs(30),
                resume: Duration::from_secs(60),
                sessions: 100,
                window: 256,
            },
            uuid::Uuid::nil(),
        );
        let auth = Authenticator::new(store.clone(), clock.clone(), activity, [ADMIN_KEY]);
        let sockets = Sockets {
            intake: intake.clone(),
            store: store.clone(),
            auth: auth.clone(),
            names: self.names()?,
            live: live.clone(),
            topics: Topics::new((store.clone(), intake.clone()), clock.clone()),
            clock: clock.clone(),
            guesses: Guesses::new(clock.clone()),
            audit: audit.clone(),
            draining: draining.clone(),
            room: Room::new(1 << 20, false),
        };
        Ok(Api {
            a2a: None,
            intake,
            auth,
            topics: sockets.topics.clone(),
            guesses: sockets.guesses.clone(),
            sockets,
            link_life: HOUR,
            store: store.clone(),
            names: self.names()?,
            main_domain: domain()?,
            clock: clock.clone(),
            sealer: None,
            admin: AdminGate {
                own_listener: false,
                from: vec!["127.0.0.0/8".parse()?].into(),
            },
            reader: BodyReader::new(BodyTimes::default(), usize::MAX, clock.clone()),
            draining,
            board: self.board.clone(),
            node: uuid::Uuid::nil(),
            live,
            discovery: Discovery::new(Arc::new(resolver), clock.clone(), self.metrics.clone()),
            published: Arc::new(Advertisement::of_gateway(gateway, &["batch"])),
            policies: judges.0,
            schemas: judges.1,
            audit,
            tiers: Arc::default(),
        })
    }

    fn admission(&self) -> Admission {
        let rules = AdmissionRules {
            commit_wait: Duration::from_millis(10),
            requests: 100_000,
        };
        let metrics = self.metrics.admission().clone();
        Admission::new(rules, self.clock.clone(), metrics)
    }

    /// What the daemon puts around its routes.
    fn around(&self, router: Router) -> Router {
        let edge = Edge {
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            admission: Some(self.admission()),
        };
        let many = NonZeroU32::MAX;
        let rate = AddressRate::new(many, Duration::from_secs(1), self.clock.clone());
        edge.around(rate.before(router))
    }
}

/// What the queue goes by, as configured where nothing is configured.
fn rules() -> Result<QueueRules> {
    Ok(QueueRules {
        schedule: Schedule {
            initial: Duration::from_secs(1),
            max: HOUR,
            attempts: 30,
            give_up: 24 * HOUR,
        },
        limits: QueueLimits {
            window: 50_000,
            concurrency: 4,
            to_gateways: 4,
            to_mail: 2,
        },
        bounces: NonZeroU32::MIN,
        delay_notice: None,
        rates: Vec::new(),
        mail_rate: None,
        domain: domain()?,
    })
}

/// Has the router answer a request that came over TLS from this machine.
async fn exchange(
    router: Router,
    mut request: Request<Body>,
    wanted: StatusCode,
) -> Result<Vec<u8>> {
    request.extensions_mut().insert(Connection {
        client: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 40_000),
        tls: true,
        client_certificates: Arc::default(),
    });
    let answer = router.oneshot(request).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    ensure!(
        status == wanted,
        "{status}: {}",
        String::from_utf8_lossy(&body)
    );
    Ok(body.into())
}

fn domain() -> Result<Domain> {
    Domain::parse(DOMAIN).map_err(|fault| anyhow::anyhow!("{DOMAIN}: {fault}"))
}

/// A certificate, which the health routes want to know of.
fn identity(folder: &Path) -> Result<TlsIdentity> {
    let made = rcgen::generate_simple_self_signed([DOMAIN.to_owned()])?;
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem())?;
    std::fs::write(&key, made.signing_key.serialize_pem())?;
    Ok(TlsIdentity::load(&certificate, &key)?)
}
