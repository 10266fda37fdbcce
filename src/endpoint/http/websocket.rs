//! `GET /v1/ws`: the request that becomes a WebSocket.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::ORIGIN;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::json;

use super::error::ApiError;
use super::extract::{Gate, Params, bearer, client, invalid_field, presented, turned_away};
use super::server::Upgrade;
use crate::auth::{Permission, Presented};
use crate::endpoint::websocket::{Conversation, Handshake, Peer, Wish};
use crate::envelope::Principal;
use crate::live::SessionKind;
use crate::protocol::ErrorCode;

/// `GET /v1/ws`
pub(super) async fn open(
    State(api): Gate,
    params: Params,
    request: Request,
) -> Result<Response, ApiError> {
    let (mut parts, _) = request.into_parts();
    let upgrade = parts.extensions.remove::<Upgrade>();
    let upgraded = parts.extensions.remove::<OnUpgrade>();
    let (Some(upgrade), Some(upgraded)) = (upgrade, upgraded) else {
        return Err(no_websocket(
            "this is a WebSocket: connect over HTTP/1.1 and send `Upgrade: websocket`",
        ));
    };
    let handshake = Handshake::answer(&parts.headers, api.sockets.room.compression)
        .map_err(|fault| no_websocket(&fault.to_string()))?;
    let known = known(&parts, &api).await?;
    let wish = Wish {
        credit: params.text("credit").map(credit).transpose()?,
        resume: params.text("resume").map(str::to_owned),
        inbox: params.address("inbox")?,
    };
    let connection = client(&parts)?;
    let peer = Peer {
        remote: connection.client.ip(),
        place: connection.client.ip().to_string(),
        certificates: connection.client_certificates.clone(),
        kind: SessionKind::WebSocket,
    };
    let (tools, manner) = (api.sockets.clone(), handshake.manner);
    let onward = move |stream| {
        let stream = TokioIo::new(stream);
        let conversation = Conversation::new(stream, manner, (tools, peer), (known, wish));
        Box::pin(async move { drop(conversation.run().await) }) as _
    };
    upgrade.agree(upgraded, Box::new(onward));
    Ok((StatusCode::SWITCHING_PROTOCOLS, handshake.headers).into_response())
}

/// Who is calling, where the request says so; otherwise the first frame must. Whom a browser speaks
/// for is not told by the certificate that it shows to every page.
async fn known(parts: &Parts, api: &super::Shared) -> Result<Option<Principal>, ApiError> {
    if parts.headers.contains_key(ORIGIN) && bearer(&parts.headers).is_none() {
        return Ok(None);
    }
    match presented(parts, &api.auth).await? {
        Presented::Nothing => Ok(None),
        Presented::Invalid => {
            let what = ("auth.failed", ErrorCode::AuthenticationFailed);
            Err(turned_away(parts, api, what).await)
        }
        Presented::Principal(principal) => match Permission::Receive.allows(&principal) {
            true => Ok(Some(principal)),
            false => Err(ApiError::new(ErrorCode::AccessDenied)),
        },
    }
}

fn credit(text: &str) -> Result<u32, ApiError> {
    text.parse()
        .map_err(|_| invalid_field("credit", "must be a whole number"))
}

fn no_websocket(reason: &str) -> ApiError {
    ApiError::new(ErrorCode::InvalidParameter).details(json!({ "reason": reason }))
}
