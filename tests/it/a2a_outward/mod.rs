//! Agents elsewhere behind addresses here: A2A agents of others, and agents of other domains.

mod answers;
mod clients;
mod fronts;
mod trouble;

use std::net::SocketAddr;
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};

use crate::support::Agent;
use crate::support::a2a_agent::{A2aAgent, Way};
use crate::support::behaviour::Behaviour;
use crate::support::eventually_so;
use crate::support::server::Server;
use crate::support::site::{Site, World};

const WAYS: [Way; 3] = [Way::Rpc, Way::Rest, Way::Old];
const SECRET: &str = "Bearer sesame";

/// A gateway with a reader, and an address that stands for an A2A agent.
struct Bench {
    /// Its DNS and authority live as long as the test.
    _world: World,
    site: Site,
    server: Server,
    other: A2aAgent,
    alice: Agent,
    x: String,
}

impl Bench {
    async fn new(host: &str, other: A2aAgent, variables: &[(&str, &str)]) -> Self {
        let world = World::new("127.0.0.1:0".parse().unwrap(), &["a.test"]);
        let mut all = vec![
            ("AMTPD__NET__ALLOW__A2A", "[127.0.0.0/8]"),
            ("AMTPD__A2A_CLIENT__POLL_FIRST", "30ms"),
            ("AMTPD__A2A_CLIENT__POLL_LONGEST", "100ms"),
        ];
        all.retain(|(name, _)| !variables.iter().any(|(other, _)| other == name));
        all.extend_from_slice(variables);
        let site = world.start("a.test", host, &all).await;
        let listens: SocketAddr = format!("{host}:0").parse().unwrap();
        let server = Server::start(listens, None, Behaviour::A2a(other.clone()));
        let alice = site.agent("alice").await;
        let target = format!("http://{}/", server.address());
        let form = json!({ "address": "x", "delivery_mode": "a2a", "push_target": target,
            "headers": { "authorization": SECRET } });
        let (status, answer) = site
            .admin(Method::POST, "/v1/admin/agents", Some(form))
            .await;
        assert_eq!(status, 201, "{answer}");
        assert_eq!(answer["agent"]["delivery_mode"], "a2a");
        assert!(!answer.to_string().contains("sesame"), "{answer}");
        Self {
            _world: world,
            site,
            server,
            other,
            alice,
            x: "x@a.test".to_owned(),
        }
    }

    async fn say(&self, text: &str) -> String {
        let payload = json!({ "text": text });
        self.site.send(&self.alice, &[&self.x], payload).await
    }

    /// What alice says in reply to a message.
    async fn reply(&self, from: &Agent, to: &str, text: &str) -> String {
        let body = json!({ "sender": from.address, "recipients": [self.x], "in_reply_to": to,
            "payload": { "text": text } });
        self.site.submit(from, body).await
    }

    async fn mail(&self, count: usize) -> Vec<Value> {
        self.site.mail(&self.alice, count).await
    }

    /// Waits until the agent was asked so often.
    async fn asked(&self, count: usize) {
        eventually_so("a question", Duration::from_secs(30), async || {
            (self.other.asked().len() >= count).then_some(())
        })
        .await;
    }

    /// Waits until a task was looked at so often from now on.
    async fn looked(&self, more: usize) {
        let count = self.other.looks() + more;
        eventually_so("a look", Duration::from_secs(30), async || {
            (self.other.looks() >= count).then_some(())
        })
        .await;
    }
}

fn texts(words: &str) -> Value {
    json!([{ "text": words, "kind": "text" }])
}
