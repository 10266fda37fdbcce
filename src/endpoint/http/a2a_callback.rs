//! `POST /a2a-callback/{token}`: an A2A agent of others says that something happened to a task.
//!
//! It is a hint and nothing more: what it says is not looked at, the agent is asked how the task is. The
//! token is the whole credential; it is good for one call, as long as that is open.

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use ring::digest::{SHA256, digest};

use super::error::ApiError;
use super::extract::Gate;
use crate::protocol::ErrorCode;

/// The most that is taken of what is said, in bytes.
const LARGEST: usize = 64 * 1_024;
/// The length of a token.
const LENGTH: usize = 43;

/// `POST /a2a-callback/{token}`
pub(super) async fn post(
    State(api): Gate,
    Path(token): Path<String>,
    request: Request,
) -> Result<StatusCode, ApiError> {
    if token.len() != LENGTH {
        return Err(ApiError::new(ErrorCode::NotFound));
    }
    // Read to its end, so that the connection can be used again.
    api.reader.read(request, LARGEST).await?;
    let hash = digest(&SHA256, token.as_bytes()).as_ref().to_vec();
    match api.store.hurry_call(hash, api.clock.now()).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::new(ErrorCode::NotFound)),
    }
}
