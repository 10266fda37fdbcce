//! `/v1/admin/audit`: the audit log, and whether it is whole.

use axum::Json as Answer;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::auth::audit::chain::{Checker, Report};
use crate::endpoint::http::error::ApiError;
use crate::endpoint::http::extract::{Gate, Params, invalid_field};
use crate::protocol::Timestamp;
use crate::store::{AuditFilter, AuditRow};

/// Entries of a chain read at a time while it is checked.
const STEP: i64 = 1_000;

#[derive(Serialize)]
pub(crate) struct AuditList {
    entries: Vec<EntryView>,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct EntryView {
    entry: Box<RawValue>,
    hash: String,
}

/// `GET /v1/admin/audit`
pub(crate) async fn list(State(api): Gate, params: Params) -> Result<Answer<AuditList>, ApiError> {
    let limit = params.number("limit", 1..=1000, 100)?;
    let filter = AuditFilter {
        chain: params.text("chain").map(str::to_owned),
        since: params.moment("since")?,
        until: params.moment("until")?,
        after: match params.text("cursor") {
            None => None,
            Some(text) => {
                Some(read(text).ok_or_else(|| invalid_field("cursor", "is not one of ours"))?)
            }
        },
    };
    let mut rows = api.store.list_audit(&filter, limit + 1).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next_cursor = rows.last().filter(|_| more).map(write);
    let entries = rows.into_iter().map(view).collect::<Result<_, _>>()?;
    Ok(Answer(AuditList {
        entries,
        next_cursor,
    }))
}

fn view(row: AuditRow) -> Result<EntryView, ApiError> {
    let text = String::from_utf8(row.entry).map_err(ApiError::internal)?;
    Ok(EntryView {
        entry: RawValue::from_string(text).map_err(ApiError::internal)?,
        hash: row.hash.iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}

fn write(row: &AuditRow) -> String {
    URL_SAFE_NO_PAD.encode(format!("{} {} {}", row.at.as_millis(), row.n, row.chain))
}

fn read(text: &str) -> Option<(Timestamp, String, i64)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let mut parts = text.splitn(3, ' ');
    let at = Timestamp::from_millis(parts.next()?.parse().ok()?);
    let n = parts.next()?.parse().ok()?;
    Some((at, parts.next()?.to_owned(), n))
}

#[derive(Serialize)]
pub(crate) struct Checked {
    whole: bool,
    chains: Vec<Report>,
}

/// `GET /v1/admin/audit/verify`
pub(crate) async fn verify(State(api): Gate) -> Result<Answer<Checked>, ApiError> {
    let cuts = api.store.audit_cuts().await?;
    let mut checker = Checker::new(&cuts);
    for head in api.store.audit_heads().await? {
        let cut = cuts.iter().find(|cut| cut.chain == head.chain);
        let mut after = cut.map_or(0, |cut| cut.n);
        loop {
            let rows = api.store.read_chain(&head.chain, after, STEP).await?;
            let Some(last) = rows.last() else {
                break;
            };
            after = last.n;
            rows.iter().for_each(|row| checker.take(row));
        }
    }
    let chains = checker.finish();
    Ok(Answer(Checked {
        whole: chains.iter().all(|chain| chain.faults.is_empty()),
        chains,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_as_it_was_written() {
        let row = AuditRow {
            chain: "a b".to_owned(),
            n: 7,
            at: Timestamp::from_millis(9),
            entry: Vec::new(),
            hash: Vec::new(),
        };
        assert_eq!(read(&write(&row)), Some((row.at, row.chain, row.n)));
        assert_eq!(read("x"), None);
    }
}
