//! `amtpd message trace`: the way of a message as a timeline, and what the other side says of it.

mod peer;

use std::net::SocketAddr;

use anyhow::Result;
use clap::Args;
use hyper::Method;
use ipnet::IpNet;
use serde_json::Value;

use super::client::{Target, plain, print_json, segment};
use crate::protocol::Address;
use peer::{Peers, Said};

/// Peers are asked about so many recipients at most.
const MOST_ASKED: usize = 20;

/// Show the way of a message: every hop, every attempt, every reply
#[derive(Debug, Args)]
pub(super) struct TraceCommand {
    /// The message's id, or one it travelled under
    message_id: String,
    /// Do not ask the gateways it was delivered to
    #[arg(long)]
    no_peer: bool,
    /// Ask this DNS server where they are instead of the system's; may be repeated
    #[arg(long = "dns", value_name = "ADDRESS:PORT")]
    dns: Vec<SocketAddr>,
    /// Also ask gateways in this range of addresses that are not public, such as 127.0.0.0/8
    #[arg(long = "allow-net", value_name = "NET")]
    allow: Vec<IpNet>,
    #[command(flatten)]
    target: Target,
}

impl TraceCommand {
    pub(super) async fn run(self) -> Result<()> {
        let gateway = self.target.connect()?;
        let path = format!("/v1/messages/{}/trace", segment(&self.message_id));
        let mut trace = gateway.call(Method::GET, &path, None).await?;
        if !self.no_peer {
            let peers = Peers::new(&self.dns, &self.allow, gateway.ca_file.as_deref());
            ask(&mut trace, &peers).await;
        }
        if gateway.json {
            return print_json(&trace);
        }
        super::show(&in_words(&trace))
    }
}

/// Adds to each hop that left for another gateway what that gateway says.
async fn ask(trace: &mut Value, peers: &Result<Peers>) {
    let own = plain(&trace["message_id"]);
    let hops = trace["hops"].as_array_mut();
    let mut left = MOST_ASKED;
    for hop in hops.into_iter().flatten() {
        let recipient = hop["recipient"].as_str().map(Address::parse);
        let (Some(Ok(recipient)), "delivered") = (recipient, hop["status"].as_str().unwrap_or(""))
        else {
            continue;
        };
        if hop["local"] == Value::Bool(true) || left == 0 {
            continue;
        }
        left -= 1;
        let said = match peers {
            Ok(peers) => {
                let ids = ids(hop, &own);
                peers.ask_about(recipient.domain(), &ids).await
            }
            Err(error) => Said::Nothing(format!("{error:#}")),
        };
        hop["peer"] = said.json(&recipient);
    }
}

/// The ids a hop may be known by over there: the latest it travelled under first, its own last.
fn ids(hop: &Value, own: &str) -> Vec<String> {
    let wire = hop["wire_ids"].as_array().into_iter().flatten().rev();
    let mut ids: Vec<String> = wire
        .filter_map(Value::as_str)
        .take(2)
        .map(str::to_owned)
        .collect();
    ids.push(own.to_owned());
    ids
}

/// The whole trace for people.
fn in_words(trace: &Value) -> String {
    let mut text = format!(
        "{} from {}\n",
        plain(&trace["message_id"]),
        plain(&trace["sender"])
    );
    for hop in trace["hops"].as_array().into_iter().flatten() {
        text += &format!(
            "\nto {}: {}\n",
            plain(&hop["recipient"]),
            plain(&hop["status"])
        );
        let mut events = vec![accepted(&hop["accepted"])];
        let attempts = hop["attempts"].as_array().into_iter().flatten();
        events.extend(attempts.map(attempt));
        events.extend(end(hop));
        events.sort_by(|one, other| one.0.cmp(&other.0));
        for (at, what) in events {
            text += &format!("  {at}  {what}\n");
        }
        text += &afterwards(hop);
    }
    let replies = trace["replies"].as_array().into_iter().flatten();
    for (number, reply) in replies.enumerate() {
        if number == 0 {
            text += "\nreplies\n";
        }
        let (at, id) = (plain(&reply["timestamp"]), plain(&reply["message_id"]));
        text += &format!("  {at}  {id} from {}\n", plain(&reply["sender"]));
    }
    text
}

/// A moment and what happened.
type Event = (String, String);

fn accepted(entry: &Value) -> Event {
    let verification = &entry["sender_verification"];
    let mut what = format!(
        "accepted as {}, sender {} ({})",
        plain(&entry["origin"]),
        plain(&verification["result"]),
        plain(&verification["method"])
    );
    add(&mut what, ", from ", &entry["remote"]);
    add(&mut what, ", request ", &entry["request_id"]);
    (plain(&entry["timestamp"]), what)
}

fn attempt(attempt: &Value) -> Event {
    let mut what = format!(
        "attempt {} {} after {} ms: {}",
        plain(&attempt["number"]),
        plain(&attempt["outcome"]),
        plain(&attempt["took_ms"]),
        plain(&attempt["error_code"])
    );
    add(&mut what, ": ", &attempt["text"]);
    add(&mut what, ", at ", &attempt["remote"]);
    (plain(&attempt["timestamp"]), what)
}

/// What ended it, or what comes next.
fn end(hop: &Value) -> Vec<Event> {
    let status = plain(&hop["status"]);
    let at = |member: &str| hop[member].as_str().map(str::to_owned);
    let mut events = Vec::new();
    match status.as_str() {
        "delivered" => {
            let mut what = "delivered".to_owned();
            add(&mut what, " to ", &hop["remote"]);
            if hop["attempts_made"].as_u64().unwrap_or(0) > 0 {
                what += &format!(" at attempt {}", plain(&hop["attempts_made"]));
            }
            let when = at("delivered_at").unwrap_or_else(|| plain(&hop["timestamp"]));
            events.push((when, what));
            events.extend(at("acknowledged_at").map(|at| (at, "acknowledged".to_owned())));
        }
        "failed" | "expired" | "cancelled" => {
            let mut what = status;
            add(&mut what, ": ", &hop["error_code"]);
            events.push((plain(&hop["timestamp"]), what));
        }
        _ => events.extend(at("next_retry").map(|at| (at, "next attempt".to_owned()))),
    }
    let letter = &hop["dead_letter"];
    if let Some(at) = letter["dlq_timestamp"].as_str() {
        let mut what = "kept as dead letter".to_owned();
        add(&mut what, " ", &letter["id"]);
        what += &format!(", bounce {}", plain(&letter["bounce"]));
        events.push((at.to_owned(), what));
    }
    events
}

/// What has no time: the ids it travelled under, and what the other side says.
fn afterwards(hop: &Value) -> String {
    let mut text = String::new();
    let wire = hop["wire_ids"].as_array().filter(|ids| !ids.is_empty());
    if wire.is_some() {
        text += &format!("  travelled as {}\n", plain(&hop["wire_ids"]));
    }
    if let Some(peer) = hop.get("peer") {
        text += &format!("  {}\n", peer::in_words(peer));
    }
    text
}

fn add(text: &mut String, before: &str, value: &Value) {
    if !value.is_null() {
        *text += before;
        *text += &plain(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_trace_reads_as_a_timeline() {
        let trace = json!({
            "message_id": "m-1", "sender": "alice@a.test",
            "hops": [{
                "recipient": "x@b.test", "status": "delivered", "attempts_made": 2,
                "timestamp": "2026-01-01T00:00:09.000Z",
                "delivered_at": "2026-01-01T00:00:09.000Z", "remote": "192.0.2.1:443",
                "accepted": {"timestamp": "2026-01-01T00:00:01.000Z", "origin": "submission",
                             "sender_verification": {"result": "authenticated", "method": "api_key"}},
                "attempts": [{"number": 1, "timestamp": "2026-01-01T00:00:02.000Z", "took_ms": 40,
                              "outcome": "deferred", "error_code": "RECIPIENT_UNAVAILABLE",
                              "text": "no\u{1b}[31m answer", "remote": "192.0.2.1:443"}],
                "wire_ids": ["w-1"],
                "peer": {"domain": "b.test", "shown": true, "message_id": "w-1", "status": "delivered"}
            }, {
                "recipient": "hook@a.test", "status": "failed", "attempts_made": 1, "attempts": [],
                "timestamp": "2026-01-01T00:00:03.000Z", "error_code": "AGENT_UNKNOWN",
                "accepted": {"timestamp": "2026-01-01T00:00:01.000Z", "origin": "submission",
                             "sender_verification": {"result": "authenticated", "method": "api_key"}},
                "wire_ids": [],
                "dead_letter": {"id": 4, "dlq_timestamp": "2026-01-01T00:00:03.000Z", "bounce": "sent"}
            }],
            "replies": [{"message_id": "r-1", "sender": "x@b.test", "timestamp": "2026-01-01T00:00:11.000Z"}]
        });
        let expected = "\
m-1 from alice@a.test

to x@b.test: delivered
  2026-01-01T00:00:01.000Z  accepted as submission, sender authenticated (api_key)
  2026-01-01T00:00:02.000Z  attempt 1 deferred after 40 ms: RECIPIENT_UNAVAILABLE: no\u{fffd}[31m answer, at 192.0.2.1:443
  2026-01-01T00:00:09.000Z  delivered to 192.0.2.1:443 at attempt 2
  travelled as w-1
  b.test says of w-1: delivered

to hook@a.test: failed
  2026-01-01T00:00:01.000Z  accepted as submission, sender authenticated (api_key)
  2026-01-01T00:00:03.000Z  failed: AGENT_UNKNOWN
  2026-01-01T00:00:03.000Z  kept as dead letter 4, bounce sent

replies
  2026-01-01T00:00:11.000Z  r-1 from x@b.test
";
        assert_eq!(in_words(&trace), expected);
    }

    #[test]
    fn a_hop_is_known_by_the_ids_it_travelled_under_first() {
        let hop = json!({ "wire_ids": ["w-1", "w-2", "w-3"] });
        assert_eq!(ids(&hop, "own"), ["w-3", "w-2", "own"]);
        assert_eq!(ids(&json!({ "wire_ids": [] }), "own"), ["own"]);
    }

    #[tokio::test]
    async fn only_hops_delivered_to_others_are_asked_about() {
        let hop = |recipient: &str, status: &str, local: bool| json!({ "recipient": recipient, "status": status, "local": local, "wire_ids": [] });
        let mut trace = json!({ "message_id": "m-1", "hops": [
            hop("bob@a.test", "delivered", true),
            hop("x@b.test", "retrying", false),
            hop("y@b.test", "delivered", false),
        ]});
        ask(&mut trace, &Err(anyhow::anyhow!("no resolver"))).await;
        let asked: Vec<bool> = trace["hops"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hop| hop.get("peer").is_some())
            .collect();
        assert_eq!(asked, [false, false, true]);
        assert_eq!(trace["hops"][2]["peer"]["reason"], "no resolver");
    }
}
