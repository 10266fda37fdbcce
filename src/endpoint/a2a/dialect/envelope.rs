//! The envelope of JSON-RPC 2.0: one call in, one answer out, as text.

use super::error::{A2aError, Kind};
use crate::protocol::json::{scan_object, string_of};
use crate::task::{Dialect, Json};

/// Bytes of an id: it is repeated in every event of a stream.
const LONGEST_ID: usize = 1_024;

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::endpoint::a2a) struct Call<'a> {
    /// As the client wrote it: a text or a whole number.
    pub(in crate::endpoint::a2a) id: Json,
    pub(in crate::endpoint::a2a) method: String,
    /// An object.
    pub(in crate::endpoint::a2a) parameters: &'a str,
}

/// Reads a call. What is wrong comes with the id, where that could be read.
///
/// # Errors
/// The body is no JSON, or no call: a batch, a notification, another version.
pub(in crate::endpoint::a2a) fn read(body: &[u8]) -> Result<Call<'_>, (Option<Json>, A2aError)> {
    let invalid = |text: &str| A2aError::new(Kind::InvalidRequest, text);
    let members = match scan_object(body) {
        Ok(members) => members,
        Err(fault) => return Err((None, not_an_object(body, fault))),
    };
    let text = std::str::from_utf8(body).unwrap_or_default();
    let find = |wanted: &str| {
        let found = members.iter().find(|(name, _)| name == wanted);
        found.map(|(_, place)| &text[place.clone()])
    };
    let Some(id) = find("id").and_then(id) else {
        let rule = "id must be a text or a whole number; notifications have no answer here";
        return Err((None, invalid(rule)));
    };
    let told = |rule: &str| Err((Some(id.clone()), invalid(rule)));
    if find("jsonrpc").and_then(string_of).as_deref() != Some("2.0") {
        return told("jsonrpc must be \"2.0\"");
    }
    let Some(method) = find("method").and_then(string_of) else {
        return told("method must be a text");
    };
    let parameters = match find("params") {
        None | Some("null") => "{}",
        Some(found) if found.starts_with('{') => found,
        Some(_) => {
            let error = A2aError::new(Kind::InvalidParams, "params must be an object");
            return Err((Some(id), error));
        }
    };
    Ok(Call {
        method: method.into_owned(),
        id,
        parameters,
    })
}

/// A batch and other values are JSON, but no call.
fn not_an_object(body: &[u8], fault: crate::protocol::json::JsonFault) -> A2aError {
    let mut out = Vec::new();
    if crate::protocol::json::canonical_text(body, &mut out).is_err() {
        return fault.into();
    }
    let text = match out.first() {
        Some(b'[') => "batches are not taken: send one call",
        _ => "a call is an object",
    };
    A2aError::new(Kind::InvalidRequest, text)
}

fn id(raw: &str) -> Option<Json> {
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    let is_whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let fits = raw.len() <= LONGEST_ID && (is_whole || raw.starts_with('"'));
    fits.then(|| Json::read(raw).ok()).flatten()
}

/// The answer to a call.
pub(in crate::endpoint::a2a) fn result(id: &Json, result: &Json) -> String {
    let (id, result) = (id.get(), result.get());
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
}

/// The answer to a call that failed.
pub(in crate::endpoint::a2a) fn failure(
    id: Option<&Json>,
    error: &A2aError,
    dialect: Dialect,
) -> String {
    let (id, error) = (id.map_or("null", Json::get), error.object(dialect));
    let error = error.get();
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)
}
