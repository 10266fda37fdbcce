//! `/v1/admin/workers`: what the long tasks of this process are doing.

use axum::Json as Answer;
use axum::extract::State;
use serde::Serialize;

use crate::endpoint::http::extract::{Gate, Operator};
use crate::telemetry::Status;

#[derive(Serialize)]
pub(crate) struct WorkerList {
    workers: Vec<Status>,
}

/// `GET /v1/admin/workers`
pub(crate) async fn list(State(api): Gate, _operator: Operator) -> Answer<WorkerList> {
    Answer(WorkerList {
        workers: api.board.read(),
    })
}
