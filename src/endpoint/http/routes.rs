//! Every route in one list, each with what it asks of its caller.
//!
//! There is no other way to add a route than with its [`Access`], and a handler learns who calls
//! only through the extractors that look it up here. The table in `docs/security.md` is written from
//! this list.

use std::collections::HashMap;

use axum::Router;
use axum::handler::Handler;
use axum::http::{HeaderValue, Method};
use axum::routing::{MethodFilter, on};

use super::staffed::staffed;
use super::{
    Shared, a2a, a2a_callback, admin, auth, batch, blobs, capabilities, discovery, inbox, messages,
    openapi, stream, topics, trace, websocket,
};
use crate::auth::{Access, Permission};

/// What a route asks.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its method.
    pub method: &'static str,
    /// Its path, with names in braces.
    pub path: &'static str,
    /// What it asks of its caller.
    pub access: Access,
}

/// What every route asks of its caller.
#[derive(Debug)]
pub(super) struct RouteTable(HashMap<&'static str, Vec<Row>>);

impl RouteTable {
    /// What this route asks; nothing where there is no such route.
    pub(super) fn access(&self, method: &Method, path: &str) -> Option<Access> {
        let method = match method.as_str() {
            "HEAD" => "GET",
            method => method,
        };
        let rows = self.0.get(path)?;
        rows.iter()
            .find(|row| row.method == method)
            .map(|row| row.access)
    }

    /// The methods of a path, as `Allow` lists them; nothing where there is no such path.
    pub(super) fn methods(&self, path: &str) -> Option<HeaderValue> {
        let rows = self.0.get(path)?;
        let mut methods: Vec<&str> = rows.iter().map(|row| row.method).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        HeaderValue::try_from(methods.join(",")).ok()
    }
}

/// Routes with what they ask.
pub(super) struct Routes {
    router: Router<Shared>,
    staff: Router<Shared>,
    rows: Vec<Row>,
}

impl Routes {
    pub(super) fn new() -> Self {
        Self {
            router: Router::new(),
            staff: Router::new(),
            rows: Vec::new(),
        }
    }

    pub(super) fn get<H, T>(self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        self.on((MethodFilter::GET, "GET"), path, access, handler)
    }

    pub(super) fn post<H, T>(self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        self.on((MethodFilter::POST, "POST"), path, access, handler)
    }

    pub(super) fn patch<H, T>(self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        self.on((MethodFilter::PATCH, "PATCH"), path, access, handler)
    }

    pub(super) fn delete<H, T>(self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        self.on((MethodFilter::DELETE, "DELETE"), path, access, handler)
    }

    fn on<H, T>(
        mut self,
        (filter, method): (MethodFilter, &'static str),
        path: &'static str,
        access: Access,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        let router = match access.is_for_staff() {
            true => &mut self.staff,
            false => &mut self.router,
        };
        *router = std::mem::take(router).route(path, on(filter, handler));
        self.rows.push(Row {
            method,
            path,
            access,
        });
        self
    }

    /// What they ask.
    pub(super) fn table(&self) -> RouteTable {
        let mut table: HashMap<_, Vec<Row>> = HashMap::new();
        for row in &self.rows {
            table.entry(row.path).or_default().push(*row);
        }
        RouteTable(table)
    }

    /// The routes; those of staff let nobody else in.
    pub(super) fn finish(self, shared: Shared) -> Router<Shared> {
        let around = axum::middleware::from_fn_with_state(shared, staffed);
        self.router.merge(self.staff.route_layer(around))
    }
}

/// Every route of the API.
pub(super) fn all() -> Routes {
    a2a_routes(staff(schemas(topics(operations(sessions(agents(open(
        Routes::new(),
    ))))))))
}

fn open(routes: Routes) -> Routes {
    use Access::{Agent, Needs, Open, Own, Public};
    use Permission::{Cancel, Discover, Receive, Send, Track};
    routes
        .post("/v1/messages", Open(Send), messages::post)
        .get("/v1/messages", Needs(Track), messages::list)
        .post("/v1/messages/batch", Open(Send), batch::post)
        .get("/v1/messages/{id}", Needs(Track), messages::show)
        .delete("/v1/messages/{id}", Needs(Cancel), messages::cancel)
        .get("/v1/messages/{id}/status", Needs(Track), messages::status)
        .get("/v1/messages/{id}/trace", Needs(Track), trace::show)
        .get("/v1/inbox/{address}", Agent(Receive), inbox::list)
        .get("/v1/inbox/{address}/stream", Agent(Receive), stream::open)
        .post(
            "/v1/inbox/{address}/ack",
            Agent(Receive),
            inbox::acknowledge_many,
        )
        .post("/v1/inbox/{address}/nack", Agent(Receive), inbox::put_back)
        .delete(
            "/v1/inbox/{address}/{message_id}",
            Agent(Receive),
            inbox::acknowledge,
        )
        .get("/v1/ws", Own, websocket::open)
        .get("/v1/blobs/{id}", Own, blobs::show)
        .post("/v1/blobs/{id}/links", Agent(Receive), blobs::link)
        .get("/v1/discovery/agents", Public, discovery::all)
        .get(
            "/v1/discovery/agents/{domain}",
            Public,
            discovery::of_domain,
        )
        .get(
            "/v1/capabilities/{domain}",
            Open(Discover),
            capabilities::show,
        )
        .post("/v1/agents/register", Own, admin::agents::enrol)
        .post("/v1/auth/token", Own, auth::token)
        .get("/v1/auth/jwks.json", Public, auth::keys)
        .post("/a2a-callback/{token}", Own, a2a_callback::post)
        .get("/openapi.json", Public, openapi::json)
        .get("/docs", Public, openapi::docs)
}

fn agents(routes: Routes) -> Routes {
    use Access::Staff;
    use Permission::{ManageAgents, ReadAgents};
    routes
        .post(
            "/v1/admin/agents",
            Staff(ManageAgents),
            admin::agents::create,
        )
        .get("/v1/admin/agents", Staff(ReadAgents), admin::agents::list)
        .get(
            "/v1/admin/agents/{address}",
            Staff(ReadAgents),
            admin::agents::show,
        )
        .patch(
            "/v1/admin/agents/{address}",
            Staff(ManageAgents),
            admin::agents::change,
        )
        .delete(
            "/v1/admin/agents/{address}",
            Staff(ManageAgents),
            admin::agents::remove,
        )
        .post(
            "/v1/admin/agents/{address}/rotate-key",
            Staff(ManageAgents),
            admin::keys::rotate,
        )
        .post(
            "/v1/admin/agents/{address}/rotate-webhook-secret",
            Staff(ManageAgents),
            admin::agents::rotate_webhook_secret,
        )
        .get(
            "/v1/admin/agents/{address}/keys",
            Staff(ReadAgents),
            admin::keys::list,
        )
        .post(
            "/v1/admin/agents/{address}/keys",
            Staff(ManageAgents),
            admin::keys::create,
        )
        .delete(
            "/v1/admin/agents/{address}/keys/{key_id}",
            Staff(ManageAgents),
            admin::keys::revoke,
        )
        .post(
            "/v1/admin/enrolment-tokens",
            Staff(ManageAgents),
            admin::enrolment::create,
        )
        .get(
            "/v1/admin/enrolment-tokens",
            Staff(ReadAgents),
            admin::enrolment::list,
        )
        .delete(
            "/v1/admin/enrolment-tokens/{id}",
            Staff(ManageAgents),
            admin::enrolment::revoke,
        )
}

/// Who is connected.
fn sessions(routes: Routes) -> Routes {
    use Access::Staff;
    use Permission::{ManageAgents, ReadAgents};
    routes
        .get(
            "/v1/admin/sessions",
            Staff(ReadAgents),
            admin::sessions::list,
        )
        .delete(
            "/v1/admin/sessions/{id}",
            Staff(ManageAgents),
            admin::sessions::close,
        )
}

/// The operator's hands on the queue.
fn operations(routes: Routes) -> Routes {
    use Access::Staff;
    use Permission::{ManageQueue, ReadDeadLetters, ReadQueue};
    routes
        .get(
            "/v1/admin/deliveries",
            Staff(ReadQueue),
            admin::deliveries::list,
        )
        .post(
            "/v1/admin/deliveries/hold",
            Staff(ManageQueue),
            admin::deliveries::hold,
        )
        .post(
            "/v1/admin/deliveries/release",
            Staff(ManageQueue),
            admin::deliveries::release,
        )
        .post(
            "/v1/admin/deliveries/retry",
            Staff(ManageQueue),
            admin::deliveries::retry,
        )
        .get(
            "/v1/admin/dead-letters",
            Staff(ReadQueue),
            admin::dead_letters::list,
        )
        .get(
            "/v1/admin/dead-letters/{id}",
            Staff(ReadDeadLetters),
            admin::dead_letters::show,
        )
        .delete(
            "/v1/admin/dead-letters/{id}",
            Staff(ManageQueue),
            admin::dead_letters::remove,
        )
        .post(
            "/v1/admin/dead-letters/replay",
            Staff(ManageQueue),
            admin::dead_letters::replay,
        )
        .post(
            "/v1/admin/dead-letters/drop",
            Staff(ManageQueue),
            admin::dead_letters::drop_many,
        )
        .get("/v1/admin/workers", Staff(ReadQueue), admin::workers::list)
        .get("/v1/admin/lag", Staff(ReadQueue), admin::lag::list)
        .get(
            "/v1/admin/suppressions",
            Staff(ReadQueue),
            admin::suppressions::list,
        )
        .delete(
            "/v1/admin/suppressions/{address}",
            Staff(ManageQueue),
            admin::suppressions::release,
        )
}

/// Topics, who is subscribed to them, and what goes to everybody.
fn topics(routes: Routes) -> Routes {
    use Access::{Agent, Needs, Staff};
    use Permission::{Discover, ManageAgents, ReadAgents, Receive, Send};
    routes
        .get("/v1/topics", Needs(Discover), topics::list)
        .post("/v1/topics", Staff(ManageAgents), topics::create)
        .get("/v1/topics/{name}", Needs(Discover), topics::show)
        .post("/v1/topics/{name}/messages", Agent(Send), topics::publish)
        .get("/v1/topics/{name}/messages", Agent(Receive), topics::kept)
        .get("/v1/topics/{name}/value", Agent(Receive), topics::value)
        .post(
            "/v1/topics/{name}/subscriptions",
            Agent(Receive),
            topics::subscribe,
        )
        .get(
            "/v1/topics/{name}/subscriptions",
            Agent(Receive),
            topics::list_subscriptions,
        )
        .delete(
            "/v1/topics/{name}/subscriptions/{id}",
            Agent(Receive),
            topics::end,
        )
        .post("/v1/broadcast", Agent(Send), topics::broadcast)
        .get(
            "/v1/admin/topics/{name}/subscriptions",
            Staff(ReadAgents),
            topics::list_any,
        )
        .post(
            "/v1/admin/topics/{name}/subscriptions",
            Staff(ManageAgents),
            topics::subscribe_any,
        )
        .delete(
            "/v1/admin/topics/{name}/subscriptions/{id}",
            Staff(ManageAgents),
            topics::end_any,
        )
}

/// Policies and the registry of schemas.
fn schemas(routes: Routes) -> Routes {
    use Access::Staff;
    use Permission::{ManageRules, ReadRules};
    routes
        .post(
            "/v1/admin/schemas",
            Staff(ManageRules),
            admin::schemas::create,
        )
        .get("/v1/admin/schemas", Staff(ReadRules), admin::schemas::list)
        .get(
            "/v1/admin/schemas/{id}",
            Staff(ReadRules),
            admin::schemas::show,
        )
        .patch(
            "/v1/admin/schemas/{id}",
            Staff(ManageRules),
            admin::schemas::change,
        )
        .delete(
            "/v1/admin/schemas/{id}",
            Staff(ManageRules),
            admin::schemas::remove,
        )
        .post(
            "/v1/admin/schemas/{id}/validate",
            Staff(ReadRules),
            admin::schemas::validate,
        )
        .get(
            "/v1/admin/policies",
            Staff(ReadRules),
            admin::policies::show,
        )
        .post(
            "/v1/admin/policies/reload",
            Staff(ManageRules),
            admin::policies::reload,
        )
}

/// Agents as A2A servers. Who may call one is up to the agent's own settings.
fn a2a_routes(routes: Routes) -> Routes {
    use Access::{Own, Public};
    routes
        .get("/.well-known/agent-card.json", Public, a2a::card)
        .get("/.well-known/agent.json", Public, a2a::old_card)
        .get("/.well-known/jwks.json", Public, a2a::keys)
        .get("/a2a", Public, a2a::list)
        .post("/a2a", Own, a2a::serve)
        .get("/a2a/", Public, a2a::list)
        .post("/a2a/", Own, a2a::serve)
        .get("/a2a/{*path}", Own, a2a::serve)
        .post("/a2a/{*path}", Own, a2a::serve)
        .delete("/a2a/{*path}", Own, a2a::serve)
}

/// Who else may do what, and what they did.
fn staff(routes: Routes) -> Routes {
    use Access::Staff;
    use Permission::{ManageStaff, ReadAudit};
    routes
        .post("/v1/admin/staff", Staff(ManageStaff), admin::staff::create)
        .get("/v1/admin/staff", Staff(ManageStaff), admin::staff::list)
        .delete(
            "/v1/admin/staff/{key_id}",
            Staff(ManageStaff),
            admin::staff::revoke,
        )
        .get("/v1/admin/audit", Staff(ReadAudit), admin::audit::list)
        .get(
            "/v1/admin/audit/chains",
            Staff(ReadAudit),
            admin::audit::chains,
        )
        .get(
            "/v1/admin/audit/verify",
            Staff(ReadAudit),
            admin::audit::verify,
        )
}

/// Every route with what it asks.
#[must_use]
pub fn route_table() -> Vec<Row> {
    all().rows
}

/// The table of routes as a part of a page in Markdown.
#[must_use]
pub fn route_reference() -> String {
    let mut text = String::from("| route | who may call it |\n| --- | --- |\n");
    for row in all().rows {
        let who = row.access.who();
        text += &format!("| `{} {}` | {who} |\n", row.method, row.path);
    }
    text
}
