//! Three gateways on own addresses, killed and cut off at random: nothing is lost, doubled or
//! out of order.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::RwLock;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::crash::{kills, report};
use crate::support::netns::Network;
use crate::support::site::{FEATURES, Site, World};
use crate::support::{Agent, eventually_so, pause};

const DOMAINS: [&str; 3] = ["one.test", "two.test", "three.test"];
const AGENTS: usize = 3;

/// What one sender was promised: the numbers of its messages that got a 202.
struct Sender {
    site: usize,
    agent: Agent,
    to: Vec<String>,
    next: u64,
    promised: u64,
}

/// Sends one message after the other until told to stop; what got no answer is sent again.
async fn talk(sites: Arc<Vec<RwLock<Site>>>, mut sender: Sender, stop: Arc<AtomicBool>) -> Sender {
    while !stop.load(Ordering::Relaxed) {
        let body = json!({
            "sender": sender.agent.address,
            "recipients": sender.to,
            "idempotency_key": format!("{}-{}", sender.agent.address, sender.next),
            "payload": sender.next,
        });
        let site = sites[sender.site].read().await;
        let key = Some(sender.agent.key.as_str());
        let caller = site.caller();
        let answer = caller.ask_soon(Method::POST, "/v1/messages", key, Some(body));
        match answer.await.map(|answer| answer.status()) {
            Ok(StatusCode::ACCEPTED) => {
                sender.next += 1;
                sender.promised += 1;
            }
            Ok(StatusCode::SERVICE_UNAVAILABLE) | Err(_) => {
                drop(site);
                pause(Duration::from_millis(20)).await;
            }
            Ok(status) => panic!("{status}"),
        }
    }
    sender
}

/// Everybody writes to two agents of each other domain, and one also to its neighbours.
fn senders(agents: &[Vec<Agent>]) -> Vec<Sender> {
    let everybody: Vec<Agent> = agents.concat();
    let mut senders = Vec::new();
    for (site, here) in agents.iter().enumerate() {
        for (n, agent) in here.iter().enumerate() {
            let to = everybody.iter().enumerate().filter(|(at, other)| {
                other.address != agent.address
                    && (at / AGENTS != site || n == 0)
                    && at % AGENTS != n
            });
            senders.push(Sender {
                site,
                agent: agent.clone(),
                to: to.map(|(_, other)| other.address.clone()).collect(),
                next: 0,
                promised: 0,
            });
        }
    }
    senders
}

fn some_time(least: u64) -> Duration {
    Duration::from_millis(least + u64::from(Uuid::new_v4().as_bytes()[0]))
}

#[tokio::test(flavor = "multi_thread")]
async fn three_gateways_lose_nothing_when_they_are_killed_and_cut_off() {
    let network = Network::new(3);
    let world = World::new((network.own_address(), 53).into(), &DOMAINS);
    let mut sites = Vec::new();
    for (node, domain) in (1..).zip(DOMAINS) {
        let address = network.address(node).into();
        let quiet = [("AMTPD__LOG__LEVEL", "warn")];
        let mut site = world.site(domain, address, Some((&network, node)), &quiet);
        world.publish(domain, site.https(), FEATURES);
        site.run().await;
        sites.push(site);
    }
    let mut agents: Vec<Vec<Agent>> = Vec::new();
    for site in &sites {
        let mut here = Vec::new();
        for n in 0..AGENTS {
            here.push(site.agent(&format!("agent-{n}")).await);
        }
        agents.push(here);
    }
    let everybody: Vec<Agent> = agents.concat();
    let senders = senders(&agents);
    let sites: Arc<Vec<RwLock<Site>>> = Arc::new(sites.into_iter().map(RwLock::new).collect());
    let stop = Arc::new(AtomicBool::new(false));
    let mut talking = JoinSet::new();
    for sender in senders {
        talking.spawn(talk(sites.clone(), sender, stop.clone()));
    }
    let rounds = kills().min(100);
    for round in 0..rounds {
        pause(some_time(20)).await;
        let victim = usize::from(Uuid::new_v4().as_bytes()[1]) % DOMAINS.len();
        if round % 3 == 2 {
            let node = u8::try_from(victim + 1).unwrap();
            network.link(node, false);
            pause(some_time(100)).await;
            network.link(node, true);
        } else {
            let mut site = sites[victim].write().await;
            site.kill();
            pause(some_time(0)).await;
            site.run().await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let senders = talking.join_all().await;
    let promised: u64 = senders
        .iter()
        .map(|it| it.promised * it.to.len() as u64)
        .sum();
    assert!(promised > 0, "nothing was accepted at all");
    let mut expected: HashMap<&str, usize> = HashMap::new();
    for sender in &senders {
        for to in &sender.to {
            *expected.entry(to).or_default() += usize::try_from(sender.promised).unwrap();
        }
    }
    for (at, agent) in everybody.iter().enumerate() {
        let site = sites[at / AGENTS].read().await;
        let wanted = expected.get(agent.address.as_str()).copied().unwrap_or(0);
        let what = format!("{wanted} messages for {}", agent.address);
        let mail = eventually_so(&what, Duration::from_secs(120), async || {
            let mail = site.inbox(agent).await;
            (mail.len() >= wanted).then_some(mail)
        })
        .await;
        check(agent, &mail, &senders);
    }
    report(&format!(
        "{promised} deliveries promised over {rounds} kills and cuts, all made once and in order"
    ));
}

/// What an agent got of each sender: every promised number, once, in order.
fn check(agent: &Agent, mail: &[Value], senders: &[Sender]) {
    for sender in senders.iter().filter(|it| it.to.contains(&agent.address)) {
        let got: Vec<u64> = mail
            .iter()
            .filter(|message| message["sender"] == sender.agent.address.as_str())
            .map(|message| message["payload"].as_u64().unwrap())
            .collect();
        let kept: Vec<u64> = (0..sender.promised).collect();
        // The last message may have been written without its answer coming through.
        let and_one: Vec<u64> = (0..=sender.promised).collect();
        assert!(
            got == kept || got == and_one,
            "{} to {}: {} promised, got {got:?}",
            sender.agent.address,
            agent.address,
            sender.promised
        );
    }
}
