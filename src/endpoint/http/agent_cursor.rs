//! Cursors of lists of agents: the address behind which to go on.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::error::ApiError;
use super::extract::{Params, invalid_field};
use crate::protocol::Address;

/// The text of a position.
pub(super) fn write(address: &Address) -> String {
    URL_SAFE_NO_PAD.encode(address.key())
}

/// The position a request names.
pub(super) fn read(params: &Params) -> Result<Option<Address>, ApiError> {
    let Some(text) = params.text("cursor") else {
        return Ok(None);
    };
    let address = URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|text| Address::parse(&text).ok());
    address
        .map(Some)
        .ok_or_else(|| invalid_field("cursor", "is not one of ours"))
}
