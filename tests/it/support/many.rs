//! Several gateways of one domain over one PostgreSQL, each a machine of its own, under load.
//!
//! Senders write through all gateways: to inboxes here, to inboxes of a peer, to webhooks. All of
//! it is held to the promises: an inbox, here or there, has each message once; a webhook may be
//! called again, under the same id, and sees the messages in order by their first call.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_server::proto::rr::RData;
use serde_json::json;

use super::audit::Audit;
use super::caller::Caller;
use super::netns::Network;
use super::postgres::{Cluster, Place};
use super::promises::{Ledger, Load, pairs};
use super::site::{FEATURES, Site, World, words};
use super::webhook::WebhookTarget;
use super::{Agent, pause};

const HERE: &str = "many.test";
const THERE: &str = "peer.test";
const PACE: Duration = Duration::from_millis(100);

/// The gateways and all around them.
pub struct Many {
    pub network: Network,
    pub cluster: Cluster,
    pub standby: Option<Cluster>,
    /// Counted from 0; on the nodes from 1.
    pub gateways: Vec<Site>,
    peer: Site,
    target: WebhookTarget,
    world: World,
    senders: Vec<Agent>,
    /// Those with an inbox here, with one at the peer, with a webhook.
    recipients: [Vec<Agent>; 3],
}

/// What goes on, and what is known of it.
pub struct Traffic {
    pub load: Load,
    pub ledger: Arc<Ledger>,
    here: Audit,
    there: Audit,
    hooks: Hooks,
}

impl Many {
    /// Gateways that run.
    pub async fn new(count: u8) -> Self {
        Self::start(count, false).await
    }

    /// Gateways that run, on a database with a synchronous standby.
    pub async fn with_standby(count: u8) -> Self {
        Self::start(count, true).await
    }

    async fn start(count: u8, with_standby: bool) -> Self {
        let network = Network::new(count + 3);
        let world = World::new((network.own_address(), 53).into(), &[HERE, THERE]);
        let cluster = Cluster::at(place(&network, count + 2));
        let mut url = cluster.database();
        let standby = with_standby.then(|| cluster.standby(place(&network, count + 3)));
        if let Some(standby) = &standby {
            url = cluster.url_of_all(&[standby], &url);
        }
        let mut gateways = gateways(&network, &world, &url, count);
        for gateway in &mut gateways {
            gateway.run().await;
        }
        let node = count + 1;
        let address = network.address(node).into();
        let quiet = [("AMTPD__LOG__LEVEL", "warn")];
        let mut peer = world.site(THERE, address, Some((&network, node)), &quiet);
        world.publish(THERE, peer.https(), FEATURES);
        peer.run().await;
        let target = WebhookTarget::start_plain((network.own_address(), 0).into());
        let hook = target.url(&network.own_address().to_string());
        let first = &gateways[0];
        let mut recipients = [const { Vec::new() }; 3];
        for n in 0..2 {
            recipients[0].push(first.agent(&format!("inbox-{n}")).await);
            recipients[1].push(peer.agent(&format!("inbox-{n}")).await);
            let name = format!("hook-{n}");
            recipients[2].push(first.push_agent(&name, &hook, json!({})).await.0);
        }
        let mut senders = Vec::new();
        for n in 0..4 {
            senders.push(first.agent(&format!("sender-{n}")).await);
        }
        Self {
            network,
            cluster,
            standby,
            gateways,
            peer,
            target,
            world,
            senders,
            recipients,
        }
    }

    /// Lets everybody write to everybody, through all gateways.
    pub fn talk(&self) -> Traffic {
        let [here, there, hooks] = &self.recipients;
        self.talk_to(here, there, hooks)
    }

    /// Lets everybody write to inboxes here, through all gateways.
    pub fn talk_here(&self) -> Traffic {
        self.talk_to(&self.recipients[0], &[], &[])
    }

    fn talk_to(&self, here: &[Agent], there: &[Agent], hooks: &[Agent]) -> Traffic {
        let gateways: Vec<Caller> = self.gateways.iter().map(Site::caller).collect();
        let pairs = pairs(&self.senders, &[here, there, hooks].concat());
        let load = Load::paced(&gateways, pairs, PACE);
        let ledger = load.ledger();
        Traffic {
            here: Audit::new(ledger.clone(), here),
            there: Audit::abroad(ledger.clone(), there),
            hooks: Hooks::new(ledger.clone(), hooks),
            ledger,
            load,
        }
    }

    /// The address of the database.
    pub fn database(&self) -> std::net::Ipv4Addr {
        self.network.address(self.database_node())
    }

    /// The node of the database; that of its standby is the next.
    pub fn database_node(&self) -> u8 {
        u8::try_from(self.gateways.len()).unwrap() + 2
    }

    /// Waits until everything promised so far is where it belongs, looking through this gateway.
    pub async fn arrived(&self, traffic: &mut Traffic, through: usize) {
        traffic.load.rest();
        traffic.here.look(&self.gateways[through].caller()).await;
        traffic.there.wait(&self.peer.caller()).await;
        traffic.hooks.wait(&self.target).await;
        traffic.load.go_on();
    }

    /// The end: everything has to be where it belongs, through whichever gateway one looks. Says how
    /// many promises were kept.
    pub async fn close(self, traffic: Traffic) -> usize {
        let Traffic {
            load,
            mut here,
            mut there,
            mut hooks,
            ..
        } = traffic;
        load.stop().await;
        for gateway in &self.gateways {
            here.look(&gateway.caller()).await;
        }
        there.wait(&self.peer.caller()).await;
        hooks.wait(&self.target).await;
        let kept = here.close(&self.gateways[0].caller()).await
            + there.close(&self.peer.caller()).await
            + hooks.promised.len();
        drop(self.world);
        kept
    }
}

/// A cluster's place on a node.
fn place(network: &Network, node: u8) -> Place {
    let under = words(&network.command(node, "env"));
    Place::at(network.address(node).into(), under)
}

/// Gateways that do not run yet, with one set of secrets.
fn gateways(network: &Network, world: &World, url: &str, count: u8) -> Vec<Site> {
    let mut gateways: Vec<Site> = Vec::new();
    let mut addresses = Vec::new();
    for node in 1..=count {
        let address: IpAddr = network.address(node).into();
        let mut variables = vec![
            ("AMTPD__STORE__URL", url.to_owned()),
            ("AMTPD__LOG__LEVEL", "warn".to_owned()),
            ("AMTPD__NET__ALLOW__WEBHOOKS", "[10.77.0.0/16]".to_owned()),
        ];
        if let Some(first) = gateways.first() {
            let file = first.file("secrets.key").display().to_string();
            variables.push(("AMTPD__SECRETS__KEY_FILE", file));
        }
        let variables: Vec<(&str, &str)> = variables.iter().map(|(n, v)| (*n, &**v)).collect();
        gateways.push(world.site(HERE, address, Some((network, node)), &variables));
        let IpAddr::V4(address) = address else {
            unreachable!("nodes have IPv4 addresses")
        };
        addresses.push(RData::A(address.into()));
    }
    world.publish(HERE, gateways[0].https(), FEATURES);
    world.dns.set_records(&World::host(HERE), addresses);
    gateways
}

/// What webhooks were promised, and what they were told.
struct Hooks {
    ledger: Arc<Ledger>,
    place: u64,
    agents: HashSet<String>,
    promised: HashMap<(String, String, u64), String>,
    given_up: HashSet<(String, String, u64)>,
}

impl Hooks {
    fn new(ledger: Arc<Ledger>, agents: &[Agent]) -> Self {
        Self {
            ledger,
            place: 0,
            agents: agents.iter().map(|it| it.address.clone()).collect(),
            promised: HashMap::new(),
            given_up: HashSet::new(),
        }
    }

    async fn wait(&mut self, target: &WebhookTarget) {
        self.read_notes();
        for _ in 0..600 {
            let told = self.told(target);
            let missing: Vec<_> = self
                .promised
                .keys()
                .filter(|&it| !told.iter().any(|(known, _)| known == it))
                .take(3)
                .collect();
            if missing.is_empty() {
                self.read_notes();
                return self.assert_order(&told);
            }
            pause(Duration::from_millis(200)).await;
        }
        panic!("calls to webhooks do not come");
    }

    fn read_notes(&mut self) {
        for note in self.ledger.read(&mut self.place) {
            if !self.agents.contains(&note.to) {
                continue;
            }
            let message = (note.from, note.to, note.number);
            match note.id {
                Some(id) => drop(self.promised.insert(message, id)),
                None => assert!(self.given_up.insert(message)),
            }
        }
    }

    /// The messages by their first calls, with the id of the call. A later call has the same.
    fn told(&self, target: &WebhookTarget) -> Vec<((String, String, u64), String)> {
        let mut ids: HashMap<(String, String, u64), String> = HashMap::new();
        let mut told = Vec::new();
        for seen in target.requests() {
            let text = |member: &str| seen.json[member].as_str().unwrap().to_owned();
            let number = seen.json["payload"].as_u64().unwrap();
            let message = (text("sender"), text("recipient"), number);
            let id = seen.header("webhook-id").to_owned();
            match ids.get(&message) {
                Some(before) => assert_eq!(before, &id, "{message:?} came under two ids"),
                None => {
                    ids.insert(message.clone(), id.clone());
                    told.push((message, id));
                }
            }
        }
        told
    }

    fn assert_order(&self, told: &[((String, String, u64), String)]) {
        let mut last: HashMap<(&str, &str), u64> = HashMap::new();
        for (message, _) in told {
            if self.given_up.contains(message) {
                continue;
            }
            let (from, to, number) = message;
            let before = last.insert((from, to), *number);
            assert!(
                before < Some(*number),
                "{from} to {to}: {number} came after {before:?}"
            );
        }
    }
}
