//! `POST /v1/messages/batch`: many messages in one request, one JSON object a line.
//!
//! They are applied in order, and each has a line of its own in the answer: a line that is refused
//! does not stop the others. But behind one that may be taken later none of its sender is taken, and
//! where the gateway is busy none at all. The first is let in as the request was; the others wait until
//! there is room. At most 200 messages and 4 MiB; the body may be compressed with gzip or zstd, and
//! counts as it is when unpacked.

use std::io::Read;
use std::time::Duration;

use axum::extract::{FromRequest, Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde::Serialize;

use super::Shared;
use super::error::ApiError;
use super::extract::{Caller, Came, Gate, invalid_field};
use super::messages::{ReceiptView, arrival, is_about_nobody, slow};
use crate::auth::Presented;
use crate::intake::{Arrival, Refusal, Taken, VERIFICATION};
use crate::protocol::{ErrorBody, ErrorCode};
use crate::store::Succession;

/// The most messages.
const MESSAGES: usize = 200;
/// The most bytes, packed or not.
const BYTES: usize = 4 * 1024 * 1024;
/// How long the lines of a batch may wait for room, all together.
const WAIT: Duration = Duration::from_secs(10);

/// What became of one line.
#[derive(Serialize)]
struct LineView {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<ReceiptView>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    error: Option<ErrorBody>,
    /// In how many seconds to come again; an answer of its own would say it in `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

/// The lines of a batch.
pub(super) struct Lines(Vec<Bytes>);

impl FromRequest<Shared> for Lines {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Shared) -> Result<Self, ApiError> {
        let packing = Packing::of(request.headers())?;
        let packed = api.reader.read(request, BYTES).await?;
        let body = match packing {
            Packing::None => packed,
            _ => api.reader.hold(packing.unpack(packed)?)?,
        };
        let mut lines: Vec<Bytes> = body
            .split(|byte| *byte == b'\n')
            .map(|line| body.slice_ref(line))
            .collect();
        if lines.last().is_some_and(Bytes::is_empty) {
            lines.pop();
        }
        if lines.is_empty() || lines.len() > MESSAGES {
            let text = format!("a batch has 1 to {MESSAGES} lines");
            return Err(invalid_field("", &text));
        }
        Ok(Self(lines))
    }
}

/// `POST /v1/messages/batch`
pub(super) async fn post(
    State(api): Gate,
    Caller(presented): Caller,
    mut came: Came,
    Lines(lines): Lines,
) -> Result<Response, ApiError> {
    // Handed to the store one after the other, and then waited for together: in order, with few commits.
    let verify_by = api.clock.monotonic() + VERIFICATION;
    let room_by = api.clock.monotonic() + WAIT;
    let succession = Succession::default();
    let mut taken: Vec<Result<Taken, Refusal>> = Vec::with_capacity(lines.len());
    for raw in lines {
        // What comes after a line that is shed is not tried: it would overtake it.
        if let Some(Err(refusal)) = taken.last()
            && refusal.shed
        {
            taken.push(Err(refusal.clone()));
            continue;
        }
        if !taken.is_empty() {
            api.intake.room(room_by).await;
        }
        let arrival = Arrival {
            succession: Some(succession.clone()),
            ..arrival(&came, presented.clone(), (raw, verify_by))
        };
        taken.push(api.intake.begin(arrival, came.entry.take()).await);
    }
    if !matches!(presented, Presented::Principal(_)) {
        let unknown = taken.iter().filter(|line| is_about_nobody(line)).count();
        slow(&api, came.remote, unknown).await?;
    }
    let mut answer = Vec::with_capacity(256 * taken.len());
    for line in taken {
        let receipt = match line {
            Ok(taken) => taken.receipt().await,
            Err(refusal) => Err(refusal),
        };
        let view = match receipt {
            Ok(receipt) => LineView {
                status: StatusCode::ACCEPTED.as_u16(),
                receipt: Some(ReceiptView::of(receipt)),
                error: None,
                retry_after: None,
            },
            Err(refusal) => {
                let error = ApiError::from(refusal);
                LineView {
                    status: error.code().http_status(),
                    receipt: None,
                    error: Some(error.body(&came.request_id, api.clock.now())),
                    retry_after: error.wait(),
                }
            }
        };
        serde_json::to_writer(&mut answer, &view).map_err(ApiError::internal)?;
        answer.push(b'\n');
    }
    let headers = [(CONTENT_TYPE, "application/x-ndjson")];
    Ok((StatusCode::OK, headers, answer).into_response())
}

/// How the body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    None,
    Gzip,
    Zstd,
}

impl Packing {
    fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let text = |name| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_ascii_lowercase()
        };
        let content_type = text(CONTENT_TYPE);
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if !matches!(essence, "application/x-ndjson" | "application/ndjson") {
            return Err(ApiError::new(ErrorCode::UnsupportedMediaType)
                .message("A batch must be sent as Content-Type: application/x-ndjson."));
        }
        match text(CONTENT_ENCODING).trim() {
            "" | "identity" => Ok(Self::None),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            _ => Err(ApiError::new(ErrorCode::UnsupportedMediaType)
                .message("A batch may be packed with gzip or zstd.")),
        }
    }

    fn unpack(self, packed: Bytes) -> Result<Bytes, ApiError> {
        match self {
            Self::None => Ok(packed),
            Self::Gzip => bounded(flate2::read::MultiGzDecoder::new(packed.as_ref())),
            Self::Zstd => {
                let mut source = packed.as_ref();
                let decoder =
                    ruzstd::decoding::StreamingDecoder::new(&mut source).map_err(|_| broken())?;
                bounded(decoder)
            }
        }
    }
}

/// Unpacks no more than may come.
fn bounded(unpacked: impl Read) -> Result<Bytes, ApiError> {
    let mut body = Vec::new();
    let most = u64::try_from(BYTES).unwrap_or(u64::MAX);
    let mut unpacked = unpacked.take(most + 1);
    unpacked.read_to_end(&mut body).map_err(|_| broken())?;
    if body.len() > BYTES {
        return Err(ApiError::new(ErrorCode::MessageTooLarge)
            .details(serde_json::json!({ "max_size": BYTES })));
    }
    Ok(body.into())
}

fn broken() -> ApiError {
    ApiError::new(ErrorCode::InvalidMessageFormat).message("The body cannot be unpacked.")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(body: &[u8]) -> Bytes {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(body).unwrap();
        packer.finish().unwrap().into()
    }

    #[test]
    fn what_unpacks_to_more_than_may_come_is_refused() {
        assert_eq!(Packing::Gzip.unpack(gzip(b"{}\n")).unwrap(), "{}\n");
        let bomb = gzip(&vec![b' '; 64 * 1024 * 1024]);
        assert!(bomb.len() < 128 * 1024);
        let refused = Packing::Gzip.unpack(bomb).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::MessageTooLarge);
        let zstd = ruzstd::encoding::compress_to_vec(
            &b"{}\n"[..],
            ruzstd::encoding::CompressionLevel::Fastest,
        );
        assert_eq!(Packing::Zstd.unpack(zstd.into()).unwrap(), "{}\n");
        let bomb = ruzstd::encoding::compress_to_vec(
            vec![b' '; 8 * 1024 * 1024].as_slice(),
            ruzstd::encoding::CompressionLevel::Fastest,
        );
        let refused = Packing::Zstd.unpack(bomb.into()).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::MessageTooLarge);
        for packing in [Packing::Gzip, Packing::Zstd] {
            let refused = packing.unpack(Bytes::from_static(b"junk")).unwrap_err();
            assert_eq!(refused.code(), ErrorCode::InvalidMessageFormat);
        }
    }
}
