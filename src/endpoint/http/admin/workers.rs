//! `/v1/admin/workers`: what the long tasks of this process are doing, and which other gateways use
//! its database.

use axum::Json as Answer;
use axum::extract::State;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::endpoint::http::extract::Gate;
use crate::protocol::Timestamp;
use crate::store::GatewayRow;
use crate::telemetry::Status;

#[derive(Serialize)]
pub(crate) struct WorkerList {
    workers: Vec<Status>,
    /// Every gateway of the database, this one included; absent where it cannot be shared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gateways: Vec<GatewayView>,
}

#[derive(Serialize)]
struct GatewayView {
    node: String,
    /// Whether it is the one that answers.
    answers: bool,
    version: String,
    joined_at: Timestamp,
    seen_at: Timestamp,
    shards: u64,
    /// As it told when it was seen last.
    workers: Option<Box<RawValue>>,
}

/// `GET /v1/admin/workers`
pub(crate) async fn list(State(api): Gate) -> Answer<WorkerList> {
    let node = api.node.to_string();
    let view = |row: GatewayRow| GatewayView {
        answers: row.node == node,
        node: row.node,
        version: row.version,
        joined_at: row.joined_at,
        seen_at: row.seen_at,
        shards: row.shards,
        workers: serde_json::from_slice(&row.status).ok(),
    };
    // What this one does is told also while the database is away.
    let gateways = api.store.gateways().await.unwrap_or_else(|error| {
        tracing::warn!(%error, "the other gateways are not known");
        Vec::new()
    });
    Answer(WorkerList {
        workers: api.board.read(),
        gateways: gateways.into_iter().map(view).collect(),
    })
}
