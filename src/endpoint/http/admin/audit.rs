//! `/v1/admin/audit`: the audit log, and whether it is whole.

use std::collections::BTreeMap;

use axum::Json as Answer;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::auth::audit::chain::{Checker, Report, hex};
use crate::endpoint::http::error::ApiError;
use crate::endpoint::http::extract::{Gate, Params, invalid_field};
use crate::protocol::Timestamp;
use crate::store::{AuditCut, AuditFilter, AuditRow, Store};

/// Entries of a chain read at a time while it is checked.
const STEP: i64 = 1_000;
/// How often a check begins anew because the old end was cut off under it.
const TRIES: usize = 5;

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
    if params.text("after").is_some() {
        return in_order(&api.store, &params).await.map(Answer);
    }
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

/// Entries of one chain by their numbers, which the clock does not disturb.
async fn in_order(store: &Store, params: &Params) -> Result<AuditList, ApiError> {
    let limit = params.number("limit", 1..=1000, 100)?;
    let after = params.number("after", 0..=usize::MAX >> 1, 0)?;
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let chain = params.text("chain");
    let chain = chain.ok_or_else(|| invalid_field("chain", "goes with `after`"))?;
    for other in ["since", "until", "cursor"] {
        if params.text(other).is_some() {
            return Err(invalid_field(other, "does not go with `after`"));
        }
    }
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = store.read_chain(chain, after, most).await?;
    Ok(AuditList {
        entries: rows.into_iter().map(view).collect::<Result<_, _>>()?,
        next_cursor: None,
    })
}

fn view(row: AuditRow) -> Result<EntryView, ApiError> {
    let text = String::from_utf8(row.entry).map_err(ApiError::internal)?;
    Ok(EntryView {
        entry: RawValue::from_string(text).map_err(ApiError::internal)?,
        hash: hex(&row.hash),
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
    let mut chains = Vec::new();
    for _ in 0..TRIES {
        let cuts = api.store.audit_cuts().await?;
        chains = walk(&api.store, &cuts).await?;
        // Where something was cut off meanwhile there seems to be a gap.
        if api.store.audit_cuts().await? == cuts {
            break;
        }
    }
    Ok(Answer(Checked {
        whole: chains.iter().all(|chain| chain.faults.is_empty()),
        chains,
    }))
}

/// Checks the chains as far as they all were at one moment: what is written meanwhile names ends
/// that the chains read before did not have.
async fn walk(store: &Store, cuts: &[AuditCut]) -> Result<Vec<Report>, ApiError> {
    let mut checker = Checker::new(cuts);
    for head in store.audit_heads().await? {
        let cut = cuts.iter().find(|cut| cut.chain == head.chain);
        let mut after = cut.map_or(0, |cut| cut.n);
        while after < head.n {
            let mut rows = store.read_chain(&head.chain, after, STEP).await?;
            rows.retain(|row| row.n <= head.n);
            let Some(last) = rows.last() else {
                break;
            };
            after = last.n;
            rows.iter().for_each(|row| checker.take(row));
        }
    }
    Ok(checker.finish())
}

#[derive(Serialize)]
pub(crate) struct ChainList {
    chains: Vec<ChainView>,
}

#[derive(Serialize)]
struct ChainView {
    chain: String,
    /// The last entry that was cut off.
    cut: Option<Place>,
    /// The last entry.
    last: Option<Place>,
}

#[derive(Serialize)]
struct Place {
    n: i64,
    hash: String,
}

/// `GET /v1/admin/audit/chains`
pub(crate) async fn chains(State(api): Gate) -> Result<Answer<ChainList>, ApiError> {
    let heads = api.store.audit_heads().await?;
    let mut chains: BTreeMap<String, ChainView> = BTreeMap::new();
    let view = |chain: &str| ChainView {
        chain: chain.to_owned(),
        cut: None,
        last: None,
    };
    for AuditRow { chain, n, hash, .. } in heads {
        let hash = hex(&hash);
        let known = chains.entry(chain).or_insert_with_key(|name| view(name));
        known.last = Some(Place { n, hash });
    }
    for AuditCut { chain, n, hash } in api.store.audit_cuts().await? {
        let hash = hex(&hash);
        let known = chains.entry(chain).or_insert_with_key(|name| view(name));
        known.cut = Some(Place { n, hash });
    }
    let chains = chains.into_values().collect();
    Ok(Answer(ChainList { chains }))
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
