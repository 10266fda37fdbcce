//! Another domain's gateway that does what a test says.

use std::net::SocketAddr;
use std::ops::Deref;

use super::behaviour::Behaviour;
use super::pki::{Issued, Versions, server_config};
use super::server::Server;

/// An HTTPS server in the place of a peer: TLS 1.3, HTTP/2 or HTTP/1.1. Messages are accepted
/// unless the script says otherwise.
pub struct ScriptedPeer {
    server: Server,
    issued: Issued,
}

impl ScriptedPeer {
    /// A peer on this address; port 0 takes a free one.
    pub fn start(address: SocketAddr, issued: &Issued) -> Self {
        let tls = server_config(issued, Versions::Tls13);
        Self {
            server: Server::start(address, Some(tls), Behaviour::Accept),
            issued: issued.clone(),
        }
    }

    /// The same, speaking TLS 1.2 only.
    pub fn with_tls12(self) -> Self {
        self.set_tls(server_config(&self.issued, Versions::Tls12));
        self
    }

    /// The same, showing another certificate to every later connection.
    pub fn with_certificate(mut self, issued: &Issued) -> Self {
        self.set_tls(server_config(issued, Versions::Tls13));
        self.issued = issued.clone();
        self
    }
}

impl Deref for ScriptedPeer {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}
