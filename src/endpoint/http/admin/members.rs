//! The members of a group as operators see them: who is called, and how each does.

use serde::Serialize;

use crate::endpoint::http::Api;
use crate::endpoint::http::error::ApiError;
use crate::endpoint::http::extract::invalid_field;
use crate::protocol::Timestamp;
use crate::store::{Agent, AgentSettings};

#[derive(Serialize)]
pub(super) struct MemberView {
    address: String,
    /// `called`, `reads`, `inactive`, or `unknown` where there is no such agent.
    role: &'static str,
    healthy: bool,
    failures: u32,
    under_way: usize,
    rests_until: Option<Timestamp>,
    last_success: Option<Timestamp>,
    last_active: Option<Timestamp>,
}

/// Members are agents of ours.
pub(super) fn check(api: &Api, settings: &AgentSettings) -> Result<(), ApiError> {
    let members = settings.group.iter().flat_map(|group| &group.members);
    for (at, member) in members.enumerate() {
        if !api.names.is_local(member.domain()) {
            return Err(invalid_field(
                &format!("group.members[{at}]"),
                "is not of a domain of this gateway",
            ));
        }
    }
    Ok(())
}

/// The members of a group; nothing of what is none.
pub(super) async fn of(api: &Api, group: &Agent) -> Result<Option<Vec<MemberView>>, ApiError> {
    let Some(settings) = &group.settings.group else {
        return Ok(None);
    };
    let known = api.store.members_of(group).await?;
    let (standings, now) = (api.board.standings(), api.clock.now());
    let views = settings.members.iter().map(|address| {
        let member = known.iter().find(|it| it.address.key() == address.key());
        let standing = member.map(|it| standings.of(it.id)).unwrap_or_default();
        let role = match member {
            None => "unknown",
            Some(member) if !member.active => "inactive",
            Some(member) if member.is_called() => "called",
            Some(_) => "reads",
        };
        let rests = standing.rests_until.filter(|until| *until > now);
        MemberView {
            address: address.to_string(),
            role,
            healthy: matches!(role, "called" | "reads") && rests.is_none(),
            failures: standing.failures,
            under_way: standing.under_way,
            rests_until: rests,
            last_success: standing.last_success,
            last_active: member.and_then(|it| it.last_active_at),
        }
    });
    Ok(Some(views.collect()))
}
