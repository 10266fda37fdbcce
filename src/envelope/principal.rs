//! Who is calling, after authentication, and how much of it its credential lets it do.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::protocol::Address;

/// Who is calling, after authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// Nobody showed a credential.
    Anonymous,
    /// One of our agents.
    Agent {
        /// The agent's number in the store.
        id: i64,
        /// Its address.
        address: Address,
        /// The key it used, or on which its token rests; what names its certificate or its token of
        /// another issuer.
        key_id: String,
        /// What this credential is good for.
        scopes: Scopes,
        /// The name of its limits in the configuration; nothing = the usual ones.
        tier: Option<String>,
    },
    /// One who runs this gateway.
    Staff {
        /// Whose key it is, as the audit names it.
        name: String,
        /// What that person or program may do.
        role: Role,
    },
}

/// What one who runs the gateway may do; `docs/security.md` has the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything, and who else may do what.
    Admin,
    /// The daily work: agents, queue, policies, schemas.
    Operator,
    /// Looks at what is set and at what was done; changes nothing, reads no mail.
    Auditor,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Admin, Self::Operator, Self::Auditor];

    /// The word in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
        }
    }

    /// The role of this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

/// One thing an agent's credential can be good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Sending, and cancelling what it sent.
    Send,
    /// Its inbox.
    Receive,
    /// What became of the messages it sent or got.
    Track,
}

impl Scope {
    /// All of them, in the order they are written.
    pub const ALL: [Self; 3] = [Self::Send, Self::Receive, Self::Track];

    /// The word in the API and in tokens.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Receive => "receive",
            Self::Track => "track",
        }
    }

    const fn bit(self) -> i64 {
        match self {
            Self::Send => 1,
            Self::Receive => 2,
            Self::Track => 4,
        }
    }
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scopes(i64);

/// A word that names no scope.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no scope; there are send, receive and track")]
pub struct ScopeFault(pub String);

impl Scopes {
    /// Every scope: what a key has unless it was made with less.
    pub const ALL: Self = Self(7);

    /// Reads the words of scopes.
    ///
    /// # Errors
    /// [`ScopeFault`] names the first word that is none.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, ScopeFault> {
        words.into_iter().try_fold(Self(0), |scopes, word| {
            let mut all = Scope::ALL.into_iter();
            let scope = all.find(|scope| scope.as_str() == word);
            let scope = scope.ok_or_else(|| ScopeFault(word.chars().take(40).collect()))?;
            Ok(Self(scopes.0 | scope.bit()))
        })
    }

    /// The number kept in the database.
    #[must_use]
    pub const fn code(self) -> i64 {
        self.0
    }

    /// The set behind a stored number; what a newer gateway added is left out.
    #[must_use]
    pub const fn from_code(code: i64) -> Self {
        Self(code & Self::ALL.0)
    }

    /// Whether it has a scope.
    #[must_use]
    pub const fn has(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What both have.
    #[must_use]
    pub const fn within(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Their words.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        let all = Scope::ALL.into_iter();
        all.filter(move |scope| self.has(*scope)).map(Scope::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_as_they_are_written() {
        let some = Scopes::parse(["track", "send"]).unwrap();
        assert_eq!(some.words().collect::<Vec<_>>(), ["send", "track"]);
        assert!(some.has(Scope::Send) && !some.has(Scope::Receive));
        assert_eq!(Scopes::from_code(some.code()), some);
        assert_eq!(Scopes::from_code(-1), Scopes::ALL);
        assert_eq!(
            Scopes::parse(["admin"]),
            Err(ScopeFault("admin".to_owned()))
        );
        assert!(Scopes::parse([]).unwrap().is_empty());
        assert_eq!(Scopes::ALL.within(some), some);
    }
}
