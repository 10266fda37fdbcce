//! `/v1/admin/policies`: the policy in use, and what keeps newer files from being used.

use axum::Json as Answer;
use axum::extract::State;
use serde::Serialize;

use crate::endpoint::http::error::ApiError;
use crate::endpoint::http::extract::Gate;
use crate::policy::PolicyState;
use crate::protocol::ErrorCode;

#[derive(Serialize)]
pub(crate) struct PolicyView {
    #[serde(flatten)]
    state: PolicyState,
    /// The files in use, in their order.
    paths: Vec<String>,
}

/// `GET /v1/admin/policies`
pub(crate) async fn show(State(api): Gate) -> Answer<PolicyView> {
    let set = api.policies.current();
    let paths = set.files().iter().map(|path| path.display().to_string());
    Answer(PolicyView {
        state: api.policies.state(),
        paths: paths.collect(),
    })
}

/// `POST /v1/admin/policies/reload`
pub(crate) async fn reload(State(api): Gate) -> Result<Answer<PolicyView>, ApiError> {
    let policies = api.policies.clone();
    // Thousands of rules take long enough to be read elsewhere.
    let reloaded = tokio::task::spawn_blocking(move || policies.reload()).await;
    match reloaded.map_err(ApiError::internal)? {
        Ok(_) => Ok(show(State(api)).await),
        Err(faults) => {
            let faults: Vec<String> = faults.faults().iter().map(ToString::to_string).collect();
            Err(ApiError::new(ErrorCode::Conflict)
                .message("The files have faults: the rules of before stay in use.")
                .details(serde_json::json!({ "faults": faults })))
        }
    }
}
