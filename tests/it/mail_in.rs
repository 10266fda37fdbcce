//! Mail comes in by SMTP: what swaks, Python and scripted clients send to a real gateway.

mod doors;
mod files;
mod messages;
mod senders;

use std::net::{SocketAddr, TcpListener};

use super::support::Agent;
use super::support::site::{Site, World};
use super::support::smtp::Smtp;

const OURS: &str = "our.test";

/// A gateway that takes mail, in a world of its own.
struct Office {
    world: World,
    site: Site,
    smtp: SocketAddr,
    agent: Agent,
}

impl Office {
    async fn open(more: &[(&str, &str)]) -> Self {
        let world = World::new("127.0.0.1:0".parse().unwrap(), &[OURS]);
        let smtp = free_port();
        let text = smtp.to_string();
        let mut variables = vec![
            ("AMTPD__LISTEN__SMTP", text.as_str()),
            ("AMTPD__POSTMASTER", "ops"),
        ];
        variables.extend(more);
        let site = world.start(OURS, "127.0.0.1", &variables).await;
        site.agent("ops").await;
        let agent = site.agent("agent").await;
        Self {
            world,
            site,
            smtp,
            agent,
        }
    }

    /// A domain whose mail comes from here, and says so.
    fn known(&self, domain: &str) {
        self.world
            .dns
            .set_txt(domain, &["v=spf1 ip4:127.0.0.1 -all"]);
        let policy = "v=DMARC1; p=reject";
        self.world
            .dns
            .set_txt(&format!("_dmarc.{domain}"), &[policy]);
    }

    /// Sends a mail to the agent; gives the last reply.
    fn send(&self, from: &str, mail: &str) -> String {
        let mut client = Smtp::greeted(self.smtp);
        client.mail(from, &[&self.agent.address], mail.as_bytes())
    }
}

fn free_port() -> SocketAddr {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    taken.local_addr().unwrap()
}

/// A mail with this header beside the usual one, and this text.
fn mail(from: &str, more: &str, text: &str) -> String {
    format!("From: {from}\r\nTo: agent@{OURS}\r\nSubject: An order\r\n{more}\r\n{text}\r\n")
}
