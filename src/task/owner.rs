//! Whose a task is: who made it sees it, and nobody else.

use crate::envelope::Principal;

/// The principal a task belongs to, as the store compares it.
///
/// Who shows no credential owns one task at a time: whoever knows its id is its owner. Ids are ours
/// and cannot be guessed, and a list of such a caller's tasks is always empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner(String);

impl Owner {
    /// The owner that a caller is with respect to a task.
    #[must_use]
    pub fn of(principal: &Principal, task: &str) -> Self {
        Self(match principal {
            Principal::Anonymous => format!("anonymous:{task}"),
            Principal::Agent { id, .. } => return Self::of_agent(*id),
            Principal::Staff { name, .. } => format!("staff:{name}"),
        })
    }

    /// The owner that an agent of ours is, by its number.
    #[must_use]
    pub fn of_agent(id: i64) -> Self {
        Self(format!("agent:{id}"))
    }

    /// The text that is stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
