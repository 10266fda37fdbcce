//! The HTTP endpoint: every route in one list, typed extraction in, the AMTP error body out.

mod admin;
mod admit;
mod agent_cursor;
mod batch;
mod capabilities;
mod cursor;
mod discovery;
pub mod edge;
pub mod error;
mod extract;
mod health;
mod inbox;
mod messages;
pub mod rate;
mod refused;
pub mod request_id;
pub mod server;
mod trace;
mod view;

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::routing::{delete, get, post};
use ipnet::IpNet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::auth::Authenticator;
use crate::clock::Clock;
use crate::discovery::Discovery;
use crate::intake::{Intake, LocalNames};
use crate::protocol::{Advertisement, Domain};
use crate::schema::Schemas;
use crate::store::{Sealer, Store};
use crate::telemetry::Board;

pub use health::Health;

/// The handles of this endpoint.
#[derive(Clone)]
pub struct Api {
    /// The door.
    pub intake: Intake,
    /// What is kept.
    pub store: Store,
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
}

/// What handlers get: a handle that is cheap to pass on.
type Shared = Arc<AtDoor>;

/// The handles, and the door that their routes stand behind.
struct AtDoor {
    api: Api,
    door: Door,
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
    Router::new()
        .route("/v1/messages", post(messages::post).get(messages::list))
        .route("/v1/messages/batch", post(batch::post))
        .route(
            "/v1/messages/{id}",
            get(messages::show).delete(messages::cancel),
        )
        .route("/v1/messages/{id}/status", get(messages::status))
        .route("/v1/messages/{id}/trace", get(trace::show))
        .route("/v1/inbox/{address}", get(inbox::list))
        .route("/v1/inbox/{address}/ack", post(inbox::acknowledge_many))
        .route("/v1/inbox/{address}/nack", post(inbox::put_back))
        .route(
            "/v1/inbox/{address}/{message_id}",
            delete(inbox::acknowledge),
        )
        .route("/v1/discovery/agents", get(discovery::all))
        .route("/v1/discovery/agents/{domain}", get(discovery::of_domain))
        .route("/v1/capabilities/{domain}", get(capabilities::show))
        .route("/v1/agents/register", post(admin::agents::enrol))
        .route(
            "/v1/admin/agents",
            post(admin::agents::create).get(admin::agents::list),
        )
        .route(
            "/v1/admin/agents/{address}",
            get(admin::agents::show)
                .patch(admin::agents::change)
                .delete(admin::agents::remove),
        )
        .route(
            "/v1/admin/agents/{address}/rotate-key",
            post(admin::agents::rotate_key),
        )
        .route(
            "/v1/admin/agents/{address}/rotate-webhook-secret",
            post(admin::agents::rotate_webhook_secret),
        )
        .route("/v1/admin/agents/{address}/keys", get(admin::agents::keys))
        .route(
            "/v1/admin/agents/{address}/keys/{key_id}",
            delete(admin::agents::revoke_key),
        )
        .route(
            "/v1/admin/enrolment-tokens",
            post(admin::enrolment::create).get(admin::enrolment::list),
        )
        .route(
            "/v1/admin/enrolment-tokens/{id}",
            delete(admin::enrolment::revoke),
        )
        .merge(operations())
        .merge(schemas())
        .with_state(Arc::new(AtDoor { api, door }))
        .merge(health::public(health))
}

/// The operator's hands on the queue.
fn operations() -> Router<Shared> {
    Router::new()
        .route("/v1/admin/deliveries", get(admin::deliveries::list))
        .route("/v1/admin/deliveries/hold", post(admin::deliveries::hold))
        .route(
            "/v1/admin/deliveries/release",
            post(admin::deliveries::release),
        )
        .route("/v1/admin/deliveries/retry", post(admin::deliveries::retry))
        .route("/v1/admin/dead-letters", get(admin::dead_letters::list))
        .route(
            "/v1/admin/dead-letters/{id}",
            get(admin::dead_letters::show).delete(admin::dead_letters::remove),
        )
        .route(
            "/v1/admin/dead-letters/replay",
            post(admin::dead_letters::replay),
        )
        .route(
            "/v1/admin/dead-letters/drop",
            post(admin::dead_letters::drop_many),
        )
        .route("/v1/admin/workers", get(admin::workers::list))
}

/// The registry of schemas.
fn schemas() -> Router<Shared> {
    Router::new()
        .route(
            "/v1/admin/schemas",
            post(admin::schemas::create).get(admin::schemas::list),
        )
        .route(
            "/v1/admin/schemas/{id}",
            get(admin::schemas::show)
                .patch(admin::schemas::change)
                .delete(admin::schemas::remove),
        )
        .route(
            "/v1/admin/schemas/{id}/validate",
            post(admin::schemas::validate),
        )
}

/// The routes of the plain ops listener.
pub fn ops_router(health: Health) -> Router {
    health::ops(health)
}
