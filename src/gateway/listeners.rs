//! The listeners: bound together, opened together.

use std::net::SocketAddr;

use axum::Router;

use crate::endpoint::http::edge::Edge;
use crate::endpoint::http::rate::AddressRate;
use crate::endpoint::http::server::Server;
use crate::endpoint::http::{self, Api, Door, Health};
use crate::lifecycle::Stage;

/// The bound listeners.
pub(super) struct Listeners {
    pub(super) https: Server,
    pub(super) admin: Option<Server>,
    pub(super) ops: Option<Server>,
}

impl Listeners {
    pub(super) fn addresses(&self) -> (SocketAddr, Option<SocketAddr>, Option<SocketAddr>) {
        let of = |server: &Option<Server>| server.as_ref().map(Server::local_addr);
        (self.https.local_addr(), of(&self.admin), of(&self.ops))
    }

    /// Serves: the rate of an address comes before the routes, the edge around both.
    pub(super) fn open(
        self,
        doors: &Stage,
        (api, health): (Api, Health),
        edge: &Edge,
        rate: &AddressRate,
    ) {
        let around = |router: Router| edge.clone().around(rate.clone().before(router));
        let public = around(http::router(api.clone(), health.clone(), Door::Public));
        doors.spawn("https", self.https.run(public, doors.stop()));
        // Operators are never shed.
        let edge = Edge {
            admission: None,
            ..edge.clone()
        };
        let around = |router: Router| edge.clone().around(rate.clone().before(router));
        if let Some(server) = self.admin {
            let router = around(http::router(api, health.clone(), Door::Admin));
            doors.spawn("admin", server.run(router, doors.stop()));
        }
        if let Some(server) = self.ops {
            let router = edge.clone().around(http::ops_router(health));
            doors.spawn("ops", server.run(router, doors.stop()));
        }
    }
}
