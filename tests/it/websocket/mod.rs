//! Agents that are connected over WebSocket.

mod autobahn;
mod bad_input;
mod clients;
mod conversation;
mod dialled;
mod sessions;

use serde_json::{Value, json};

use crate::support::Agent;

/// A message from one to another.
fn message(from: &Agent, to: &str, payload: &Value) -> Value {
    json!({ "sender": from.address, "recipients": [to], "payload": payload })
}
