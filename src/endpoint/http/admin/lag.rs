//! `/v1/admin/lag`: what waits for agents, topics and groups.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use serde::Serialize;

use super::agents::find;
use crate::endpoint::http::error::ApiError;
use crate::endpoint::http::extract::{Gate, Params};
use crate::protocol::Timestamp;
use crate::store::{AgentKind, Lag};

#[derive(Serialize)]
pub(crate) struct LagList {
    lag: Vec<LagView>,
    timestamp: Timestamp,
}

#[derive(Serialize)]
struct LagView {
    address: String,
    kind: AgentKind,
    /// In the mailbox.
    waiting: u64,
    waiting_bytes: u64,
    /// In the queue, for a webhook, a member, subscribers, or a mailbox that is full.
    queued: u64,
    oldest: Option<Timestamp>,
    oldest_seconds: u64,
}

impl LagView {
    fn of(lag: &Lag, now: Timestamp) -> Self {
        Self {
            address: lag.agent.address.to_string(),
            kind: lag.agent.settings.kind,
            waiting: lag.waiting,
            waiting_bytes: lag.bytes,
            queued: lag.queued,
            oldest: lag.oldest,
            oldest_seconds: lag.oldest.map_or(0, |oldest| now.since(oldest).as_secs()),
        }
    }
}

/// `GET /v1/admin/lag`: those for whom most waits, or one of them.
pub(crate) async fn list(State(api): Gate, params: Params) -> Result<Answer<LagList>, ApiError> {
    let limit = params.number("limit", 1..=1000, 100)?;
    let lags = match params.text("agent") {
        Some(name) => {
            let agent = find(&api, name).await?;
            vec![api.store.lag_of(Arc::new(agent)).await?]
        }
        None => api.store.lag(limit).await?,
    };
    let now = api.clock.now();
    Ok(Answer(LagList {
        lag: lags.iter().map(|lag| LagView::of(lag, now)).collect(),
        timestamp: now,
    }))
}
