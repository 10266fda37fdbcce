//! Answers to tasks: what a message changes is changed in the commit that stores it.

use super::{AcceptJob, Plan};
use crate::events::Topic;
use crate::protocol::ErrorCode;
use crate::store::claims::{Claims, Known};
use crate::store::committer::Verb as _;
use crate::store::sql::Connection;

/// Makes the changes of a message, unless the message is known. What keeps one from being made is
/// noted at its recipient's place, and refuses that recipient.
pub(super) async fn cross(
    tx: &mut Connection,
    job: &mut AcceptJob,
    claims: &Claims,
    topics: &mut Vec<Topic>,
) -> sqlx::Result<()> {
    job.refused.clear();
    let recipients = &job.acceptance.recipients;
    if !recipients
        .iter()
        .any(|it| matches!(it.plan, Plan::Bridge(_)))
    {
        return Ok(());
    }
    let envelope = &job.acceptance.envelope;
    let is_known = |claim: &_| !matches!(claims.find(claim, envelope), Known::No);
    if job.claims.iter().flatten().any(is_known) {
        return Ok(());
    }
    let mut refused: Vec<Option<ErrorCode>> = Vec::with_capacity(recipients.len());
    for recipient in recipients {
        refused.push(match &recipient.plan {
            Plan::Bridge(advance) => advance.apply(tx, topics).await?.refusal(),
            _ => None,
        });
    }
    job.refused = refused;
    Ok(())
}
