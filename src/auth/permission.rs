//! What each principal may do. One table for every route, interactive or not.
//!
//! A route says with an [`Access`] what it asks of its caller. Who may what follows from the
//! caller's role, or from the scopes of an agent's credential, and from nothing else; that an agent
//! sees its own things only is the business of the route itself.

use super::Presented;
use crate::envelope::{Principal, Role, Scope};

/// One thing that can be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Send messages of one's own.
    Send,
    /// Cancel messages: an agent its own, staff any.
    Cancel,
    /// See messages with their content: an agent those it sent or got, staff any.
    Track,
    /// Read and acknowledge one's own mail.
    Receive,
    /// Ask the DNS about foreign domains.
    Discover,
    /// See agents, keys without their secrets, and enrolment tokens.
    ReadAgents,
    /// Register, change and remove agents; make and revoke their keys.
    ManageAgents,
    /// See the queue, dead letters without content, and workers.
    ReadQueue,
    /// See the content of dead letters.
    ReadDeadLetters,
    /// Hold, release, retry, replay and drop.
    ManageQueue,
    /// See policies and schemas.
    ReadRules,
    /// Change schemas.
    ManageRules,
    /// See the audit log.
    ReadAudit,
    /// Make and revoke the keys of staff.
    ManageStaff,
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Send,
        Self::Cancel,
        Self::Track,
        Self::Receive,
        Self::Discover,
        Self::ReadAgents,
        Self::ManageAgents,
        Self::ReadQueue,
        Self::ReadDeadLetters,
        Self::ManageQueue,
        Self::ReadRules,
        Self::ManageRules,
        Self::ReadAudit,
        Self::ManageStaff,
    ];

    /// The word in the documentation.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Cancel => "cancel",
            Self::Track => "track",
            Self::Receive => "receive",
            Self::Discover => "discover",
            Self::ReadAgents => "read agents",
            Self::ManageAgents => "manage agents",
            Self::ReadQueue => "read queue",
            Self::ReadDeadLetters => "read dead letters",
            Self::ManageQueue => "manage queue",
            Self::ReadRules => "read rules",
            Self::ManageRules => "manage rules",
            Self::ReadAudit => "read audit",
            Self::ManageStaff => "manage staff",
        }
    }

    /// The scope an agent's credential needs for it; nothing where no agent has it.
    #[must_use]
    pub const fn scope(self) -> Option<Scope> {
        match self {
            Self::Send | Self::Cancel => Some(Scope::Send),
            Self::Track | Self::Discover => Some(Scope::Track),
            Self::Receive => Some(Scope::Receive),
            _ => None,
        }
    }

    /// Whether staff of this role has it.
    #[must_use]
    pub const fn of(self, role: Role) -> bool {
        match self {
            // Nobody sends as, or reads the mail of, an agent but the agent.
            Self::Send | Self::Receive => false,
            Self::ReadAgents | Self::ReadQueue | Self::ReadRules | Self::Discover => true,
            Self::ReadAudit => matches!(role, Role::Admin | Role::Auditor),
            Self::ManageStaff => matches!(role, Role::Admin),
            Self::Cancel
            | Self::Track
            | Self::ManageAgents
            | Self::ReadDeadLetters
            | Self::ManageQueue
            | Self::ManageRules => matches!(role, Role::Admin | Role::Operator),
        }
    }

    /// Whether a principal has it.
    #[must_use]
    pub const fn allows(self, principal: &Principal) -> bool {
        match principal {
            Principal::Anonymous => false,
            Principal::Agent { scopes, .. } => match self.scope() {
                Some(scope) => scopes.has(scope),
                None => false,
            },
            Principal::Staff { role, .. } => self.of(*role),
        }
    }
}

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing, and no credential is looked at.
    Public,
    /// Nothing. Where a credential is shown it must allow this; what is no credential of ours is
    /// judged by the route.
    Open(Permission),
    /// A credential that the route itself checks: an enrolment token, the key behind a token.
    Own,
    /// This permission, of the agent it is about: a wrong credential is answered as that of another.
    Agent(Permission),
    /// This permission.
    Needs(Permission),
    /// This permission of staff, from where staff may call from.
    Staff(Permission),
}

/// Why a caller may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// It showed nothing, or nothing good.
    Unknown,
    /// It is known, and may not.
    Forbidden,
}

impl Access {
    /// Whether who showed this may.
    ///
    /// # Errors
    /// [`Denial`].
    pub const fn check(self, presented: &Presented) -> Result<(), Denial> {
        use Presented::{Invalid, Nothing};
        match (self, presented) {
            (Self::Public | Self::Own, _)
            | (Self::Open(_), Nothing | Invalid | Presented::Principal(Principal::Staff { .. })) => {
                Ok(())
            }
            (Self::Needs(_), Nothing | Invalid) | (Self::Agent(_) | Self::Staff(_), Nothing) => {
                Err(Denial::Unknown)
            }
            // The door is known, the key is not.
            (Self::Agent(_) | Self::Staff(_), Invalid) => Err(Denial::Forbidden),
            (
                Self::Open(permission) | Self::Agent(permission) | Self::Needs(permission),
                Presented::Principal(who @ Principal::Agent { .. }),
            )
            | (
                Self::Needs(permission) | Self::Staff(permission),
                Presented::Principal(who @ Principal::Staff { .. }),
            ) if permission.allows(who) => Ok(()),
            (_, Presented::Principal(_)) => Err(Denial::Forbidden),
        }
    }

    /// Whether it is for staff alone.
    #[must_use]
    pub const fn is_for_staff(self) -> bool {
        matches!(self, Self::Staff(_))
    }

    /// Who may, in words for the documentation.
    #[must_use]
    pub fn who(self) -> String {
        match self {
            Self::Public => "anybody".to_owned(),
            Self::Own => "who has the credential it asks for".to_owned(),
            Self::Open(permission) => {
                let scope = permission.scope().map_or("", Scope::as_str);
                format!("anybody; an agent's credential needs `{scope}`")
            }
            Self::Agent(permission) | Self::Needs(permission) | Self::Staff(permission) => {
                let agent = match (self, permission.scope()) {
                    (Self::Agent(_) | Self::Needs(_), Some(scope)) => {
                        Some(format!("agent with `{}`", scope.as_str()))
                    }
                    _ => None,
                };
                let roles = Role::ALL.into_iter().filter(|role| permission.of(*role));
                let roles = roles.map(|role| role.as_str().to_owned());
                agent
                    .into_iter()
                    .chain(roles)
                    .collect::<Vec<_>>()
                    .join(", ")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Scopes;
    use crate::protocol::Address;

    fn agent(scopes: &[&str]) -> Presented {
        Presented::Principal(Principal::Agent {
            id: 1,
            address: Address::parse("a@b.test").unwrap(),
            key_id: String::new(),
            scopes: Scopes::parse(scopes.iter().copied()).unwrap(),
            tier: None,
        })
    }

    fn staff(role: Role) -> Presented {
        let name = "s".to_owned();
        Presented::Principal(Principal::Staff { name, role })
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one table")]
    fn who_may_what() {
        use Denial::{Forbidden, Unknown};
        let table = [
            (Access::Public, Presented::Invalid, Ok(())),
            (Access::Open(Permission::Send), Presented::Nothing, Ok(())),
            (Access::Open(Permission::Send), agent(&["send"]), Ok(())),
            (
                Access::Open(Permission::Send),
                agent(&["receive"]),
                Err(Forbidden),
            ),
            (Access::Needs(Permission::Track), agent(&["track"]), Ok(())),
            (
                Access::Needs(Permission::Track),
                agent(&["send"]),
                Err(Forbidden),
            ),
            (
                Access::Needs(Permission::Track),
                Presented::Nothing,
                Err(Unknown),
            ),
            (
                Access::Needs(Permission::Track),
                Presented::Invalid,
                Err(Unknown),
            ),
            (
                Access::Needs(Permission::Track),
                staff(Role::Operator),
                Ok(()),
            ),
            (
                Access::Needs(Permission::Track),
                staff(Role::Auditor),
                Err(Forbidden),
            ),
            (
                Access::Agent(Permission::Receive),
                agent(&["receive"]),
                Ok(()),
            ),
            (
                Access::Agent(Permission::Receive),
                agent(&["send", "track"]),
                Err(Forbidden),
            ),
            (
                Access::Agent(Permission::Receive),
                staff(Role::Admin),
                Err(Forbidden),
            ),
            (
                Access::Agent(Permission::Receive),
                Presented::Nothing,
                Err(Unknown),
            ),
            (
                Access::Agent(Permission::Receive),
                Presented::Invalid,
                Err(Forbidden),
            ),
            (
                Access::Staff(Permission::ReadQueue),
                agent(&["track"]),
                Err(Forbidden),
            ),
            (
                Access::Staff(Permission::ReadQueue),
                staff(Role::Auditor),
                Ok(()),
            ),
            (
                Access::Staff(Permission::ManageQueue),
                staff(Role::Auditor),
                Err(Forbidden),
            ),
            (
                Access::Staff(Permission::ManageStaff),
                staff(Role::Operator),
                Err(Forbidden),
            ),
            (
                Access::Staff(Permission::ManageStaff),
                staff(Role::Admin),
                Ok(()),
            ),
            (
                Access::Staff(Permission::Discover),
                agent(&["track"]),
                Err(Forbidden),
            ),
            (
                Access::Staff(Permission::ReadQueue),
                Presented::Nothing,
                Err(Unknown),
            ),
            (
                Access::Staff(Permission::ReadQueue),
                Presented::Invalid,
                Err(Forbidden),
            ),
        ];
        for (access, presented, expected) in table {
            assert_eq!(
                access.check(&presented),
                expected,
                "{access:?} {presented:?}"
            );
        }
    }

    #[test]
    fn an_auditor_changes_nothing_and_an_admin_may_all_that_staff_may() {
        for permission in Permission::ALL {
            let word = permission.as_str();
            if word.starts_with("manage") || word == "cancel" {
                assert!(!permission.of(Role::Auditor), "{word}");
            }
            if Role::ALL.iter().any(|role| permission.of(*role)) {
                assert!(permission.of(Role::Admin), "{word}");
            }
        }
    }
}
