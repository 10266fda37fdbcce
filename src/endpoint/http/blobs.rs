//! `/v1/blobs/{id}`: files that messages refer to, for their recipients and for whom these give a link.
//!
//! Files come from strangers: they are handed out as downloads that no browser shows or runs.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Json as Answer;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use http_body::{Frame, SizeHint};
use ring::hmac;
use serde::Serialize;

use super::Shared;
use super::error::ApiError;
use super::extract::{Caller, Gate, Known, Params, turned_away};
use crate::auth::{Permission, Presented};
use crate::envelope::Principal;
use crate::protocol::{ErrorCode, Timestamp};
use crate::store::{BlobMeta, Store, StoreError};

/// What links are signed for.
const PURPOSE: &str = "blob-link";

#[derive(Serialize)]
pub(super) struct Link {
    url: String,
    expires_at: Timestamp,
}

/// `GET /v1/blobs/{id}`
pub(super) async fn show(
    State(api): Gate,
    Path(id): Path<String>,
    params: Params,
    Caller(presented): Caller,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let meta = match (params.text("expires"), params.text("signature")) {
        (None, None) => of_recipient(&api, (&id, &presented), &parts).await?,
        (expires, signature) => {
            let signed = (expires.unwrap_or_default(), signature.unwrap_or_default());
            if !is_signed(&api, &id, signed) {
                let what = ("blob.signature", ErrorCode::AccessDenied);
                return Err(turned_away(&parts, &api, what).await);
            }
            let found = api.store.find_blob(&id).await?;
            found.ok_or(ApiError::new(ErrorCode::NotFound))?
        }
    };
    answer(&api.store, &meta)
}

/// `POST /v1/blobs/{id}/links`
pub(super) async fn link(
    State(api): Gate,
    Path(id): Path<String>,
    Known(principal): Known,
) -> Result<Answer<Link>, ApiError> {
    let Some(sealer) = &api.sealer else {
        return Err(ApiError::new(ErrorCode::Conflict)
            .message("This gateway signs no links: it has no key for that (`secrets.key_file`)."));
    };
    let meta = api.store.find_blob(&id).await?;
    let meta = meta.ok_or(ApiError::new(ErrorCode::NotFound))?;
    if !is_recipient(&api.store, &meta, &principal).await? {
        return Err(ApiError::new(ErrorCode::NotFound));
    }
    let expires_at = api.clock.now().plus(api.link_life);
    let expires = expires_at.as_millis() / 1_000;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &sealer.secret(PURPOSE));
    let signature = hmac::sign(&key, signed_text(&id, expires).as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(signature);
    let gateway = api.published.gateway.as_str();
    Ok(Answer(Link {
        url: format!("{gateway}/v1/blobs/{id}?expires={expires}&signature={signature}"),
        expires_at: Timestamp::from_millis(expires * 1_000),
    }))
}

/// The file, if the caller is an agent that got the message it belongs to.
async fn of_recipient(
    api: &Shared,
    (id, presented): (&str, &Presented),
    parts: &Parts,
) -> Result<BlobMeta, ApiError> {
    let principal = match presented {
        Presented::Principal(principal) => principal,
        Presented::Nothing => return Err(ApiError::new(ErrorCode::AuthenticationFailed)),
        Presented::Invalid => {
            let what = ("auth.failed", ErrorCode::AccessDenied);
            return Err(turned_away(parts, api, what).await);
        }
    };
    let found = api.store.find_blob(id).await?;
    let meta = found.ok_or(ApiError::new(ErrorCode::NotFound))?;
    match Permission::Receive.allows(principal) {
        true if is_recipient(&api.store, &meta, principal).await? => Ok(meta),
        // Who may not see it does not learn that it is there.
        _ => Err(ApiError::new(ErrorCode::NotFound)),
    }
}

async fn is_recipient(
    store: &Store,
    meta: &BlobMeta,
    principal: &Principal,
) -> Result<bool, StoreError> {
    let (Principal::Agent { id, .. }, Some(message)) = (principal, meta.message) else {
        return Ok(false);
    };
    let states = store.recipient_states(&[message]).await?;
    Ok(states.iter().any(|(_, state)| state.party == *id))
}

fn signed_text(id: &str, expires: i64) -> String {
    format!("{id}\n{expires}")
}

/// Whether a link is one of ours that still works.
fn is_signed(api: &Shared, id: &str, (expires, signature): (&str, &str)) -> bool {
    let (Some(sealer), Ok(until), Ok(signature)) = (
        &api.sealer,
        expires.parse::<i64>(),
        URL_SAFE_NO_PAD.decode(signature),
    ) else {
        return false;
    };
    let text = signed_text(id, until);
    let holds = |secret: [u8; 32]| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        hmac::verify(&key, text.as_bytes(), &signature).is_ok()
    };
    sealer.secrets(PURPOSE).any(holds) && api.clock.now().as_millis() / 1_000 < until
}

fn answer(store: &Store, meta: &BlobMeta) -> Result<Response, ApiError> {
    let mut answer = Response::new(Body::new(Contents {
        store: store.clone(),
        id: meta.id.clone(),
        next: 0,
        left: meta.size,
        reading: None,
    }));
    let headers = answer.headers_mut();
    let media_type = HeaderValue::from_str(&meta.media_type);
    let unknown = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, media_type.unwrap_or(unknown));
    headers.insert(header::CONTENT_LENGTH, meta.size.into());
    for (name, value) in [
        (header::CONTENT_DISPOSITION, "attachment"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; sandbox",
        ),
        (header::CACHE_CONTROL, "private, no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let digest = format!("sha-256=:{}:", STANDARD.encode(&meta.sha256));
    let digest = HeaderValue::from_str(&digest).map_err(ApiError::internal)?;
    headers.insert(HeaderName::from_static("repr-digest"), digest);
    Ok(answer)
}

type Reading = Pin<Box<dyn Future<Output = Result<Option<Bytes>, StoreError>> + Send>>;

/// The bytes of a file, chunk by chunk as they are taken.
struct Contents {
    store: Store,
    id: String,
    next: i64,
    left: u64,
    reading: Option<Reading>,
}

impl http_body::Body for Contents {
    type Data = Bytes;
    type Error = StoreError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StoreError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut reading = match self.reading.take() {
            Some(reading) => reading,
            None => {
                let (store, id, chunk) = (self.store.clone(), self.id.clone(), self.next);
                Box::pin(async move { store.blob_chunk(&id, chunk).await })
            }
        };
        let read = match reading.as_mut().poll(context) {
            Poll::Pending => {
                self.reading = Some(reading);
                return Poll::Pending;
            }
            Poll::Ready(read) => read,
        };
        self.next += 1;
        let frame = match read {
            Ok(Some(bytes)) => {
                let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                self.left = self.left.saturating_sub(length);
                Ok(Frame::data(bytes))
            }
            Ok(None) => Err(StoreError::Corrupt(format!(
                "file {} is cut short",
                self.id
            ))),
            Err(fault) => Err(fault),
        };
        if frame.is_err() {
            self.left = 0;
        }
        Poll::Ready(Some(frame))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
