//! The HTTP endpoint: every route in one list, typed extraction in, the AMTP error body out.

mod a2a;
mod a2a_callback;
mod admin;
mod admit;
mod agent_cursor;
mod auth;
mod batch;
mod blobs;
mod capabilities;
mod cursor;
mod discovery;
pub mod edge;
pub mod error;
mod extract;
mod health;
mod inbox;
mod messages;
mod openapi;
pub mod rate;
mod refused;
pub mod request_id;
mod routes;
pub mod server;
mod staffed;
mod stream;
mod topics;
mod trace;
mod view;
mod websocket;

pub(crate) use admin::form;

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use ipnet::IpNet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::auth::audit::Audit;
use crate::auth::{Authenticator, Guesses};
use crate::clock::Clock;
use crate::discovery::Discovery;
use crate::endpoint::a2a::A2a;
use crate::endpoint::websocket::Tools;
use crate::intake::{Intake, LocalNames};
use crate::live::Live;
use crate::policy::Policies;
use crate::protocol::{Advertisement, Domain};
use crate::schema::Schemas;
use crate::store::{Sealer, Store};
use crate::telemetry::Board;
use crate::topics::Topics;

pub(in crate::endpoint) use error::ApiError;
pub(in crate::endpoint) use extract::span;
pub use health::Health;
pub(crate) use messages::ReceiptView;
pub use openapi::{DescriptionFault, openapi};
use routes::RouteTable;
pub use routes::{Row, route_reference, route_table};
pub(in crate::endpoint) use view::full_message;

/// The handles of this endpoint.
#[derive(Clone)]
pub struct Api {
    /// The door.
    pub intake: Intake,
    /// Who is subscribed to what.
    pub topics: Topics,
    /// What is kept.
    pub store: Store,
    /// Who is connected.
    pub live: Live,
    /// What connections of agents work with.
    pub sockets: Tools,
    /// Agents as A2A servers, where that is on.
    pub a2a: Option<A2a>,
    /// What payloads are checked against.
    pub schemas: Schemas,
    /// Who is calling.
    pub auth: Authenticator,
    /// Which names are ours.
    pub names: Arc<LocalNames>,
    /// The domain of names without one.
    pub main_domain: Domain,
    /// What time it is.
    pub clock: Clock,
    /// Seals outbound credentials, where a key is configured.
    pub sealer: Option<Sealer>,
    /// Where operators may call from.
    pub admin: AdminGate,
    /// How bodies are read.
    pub reader: server::BodyReader,
    /// Given when the gateway drains: long polls end.
    pub draining: CancellationToken,
    /// What the workers do.
    pub board: Board,
    /// The number of this gateway among those that share its database.
    pub node: Uuid,
    /// What is known of foreign domains.
    pub discovery: Discovery,
    /// What our own domains say about this gateway.
    pub published: Arc<Advertisement>,
    /// What may pass.
    pub policies: Policies,
    /// Where what was done is written down.
    pub audit: Audit,
    /// Holds up those who guess.
    pub guesses: Guesses,
    /// The names of the sets of limits that a key can have.
    pub tiers: Arc<[String]>,
    /// How long a link to a file works.
    pub link_life: Duration,
}

/// What handlers get: a handle that is cheap to pass on.
type Shared = Arc<AtDoor>;

/// The handles, and the door that their routes stand behind.
struct AtDoor {
    api: Api,
    door: Door,
    table: RouteTable,
    description: openapi::Description,
}

impl Deref for AtDoor {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

/// Through which listener a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// The one for everybody.
    Public,
    /// The operators' own.
    Admin,
}

/// Where operators may call from: through their own listener, or, where there is none, from these
/// addresses.
#[derive(Debug, Clone)]
pub struct AdminGate {
    /// Whether operators have a listener of their own.
    pub own_listener: bool,
    /// The addresses that count as operators'.
    pub from: Arc<[IpNet]>,
}

impl AdminGate {
    fn admits(&self, door: Door, client: IpAddr) -> bool {
        let client = client.to_canonical();
        let near = self.from.iter().any(|net| net.contains(&client));
        near && (door == Door::Admin || !self.own_listener)
    }
}

/// Every route of the public listener and, with `/v1/admin`, of the operators'.
pub fn router(api: Api, health: Health, door: Door) -> Router {
    let routes = routes::all();
    let table = routes.table();
    let shared: Shared = Arc::new(AtDoor {
        api,
        door,
        table,
        description: openapi::Description::default(),
    });
    routes
        .finish(shared.clone())
        .with_state(shared)
        .merge(health::public(health))
}

/// The routes of the plain ops listener.
pub fn ops_router(health: Health) -> Router {
    health::ops(health)
}
