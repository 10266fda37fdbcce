//! The states of a task and which may follow which.

use std::fmt;

use serde::{Serialize, Serializer};

use super::json::{Fault, Place};

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskState {
    /// The agent has not got it yet.
    Submitted,
    /// The agent has it.
    Working,
    /// Done.
    Completed,
    /// It could not be done.
    Failed,
    /// The client does not want it any more.
    Canceled,
    /// The agent asks the client something.
    InputRequired,
    /// The agent does not do it.
    Rejected,
    /// The agent needs a credential.
    AuthRequired,
}

use TaskState::{
    AuthRequired, Canceled, Completed, Failed, InputRequired, Rejected, Submitted, Working,
};

impl TaskState {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Submitted,
        Working,
        Completed,
        Failed,
        Canceled,
        InputRequired,
        Rejected,
        AuthRequired,
    ];

    /// The number of the protocol, also in the database.
    #[must_use]
    pub const fn code(self) -> i64 {
        match self {
            Submitted => 1,
            Working => 2,
            Completed => 3,
            Failed => 4,
            Canceled => 5,
            InputRequired => 6,
            Rejected => 7,
            AuthRequired => 8,
        }
    }

    /// The state of a number.
    #[must_use]
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    /// The name in A2A 1.0.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Submitted => "TASK_STATE_SUBMITTED",
            Working => "TASK_STATE_WORKING",
            Completed => "TASK_STATE_COMPLETED",
            Failed => "TASK_STATE_FAILED",
            Canceled => "TASK_STATE_CANCELED",
            InputRequired => "TASK_STATE_INPUT_REQUIRED",
            Rejected => "TASK_STATE_REJECTED",
            AuthRequired => "TASK_STATE_AUTH_REQUIRED",
        }
    }

    /// The word in A2A 0.3, in 0.1 and in the AMTP header `a2a-state`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Submitted => "submitted",
            Working => "working",
            Completed => "completed",
            Failed => "failed",
            Canceled => "canceled",
            InputRequired => "input-required",
            Rejected => "rejected",
            AuthRequired => "auth-required",
        }
    }

    /// The state of a word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// The state of a name of A2A 1.0.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Reads a name or a number; nothing for `TASK_STATE_UNSPECIFIED`.
    ///
    /// # Errors
    /// It is neither.
    pub fn read(place: &Place<'_>) -> Result<Option<Self>, Fault> {
        let unknown = || place.fault("is no state of a task");
        let name = place.text();
        match name.as_deref() {
            Ok("TASK_STATE_UNSPECIFIED") => Ok(None),
            Ok(name) => Self::of_name(name).map(Some).ok_or_else(unknown),
            Err(_) => match place.int().map_err(|_| unknown())? {
                0 => Ok(None),
                code => Self::from_code(code.into()).map(Some).ok_or_else(unknown),
            },
        }
    }

    /// Whether nothing follows.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Completed | Failed | Canceled | Rejected)
    }

    /// Whether the client has to do something.
    #[must_use]
    pub const fn is_interrupted(self) -> bool {
        matches!(self, InputRequired | AuthRequired)
    }

    /// Whether a state may follow this one.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Submitted => !matches!(next, Submitted),
            Working => !matches!(next, Submitted),
            InputRequired | AuthRequired => matches!(next, Working) || next.is_terminal(),
            Completed | Failed | Canceled | Rejected => false,
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Serialize for TaskState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Some of the states, as the store compares them: bit `n` is the state of the code `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct States(pub u16);

impl States {
    /// Those that are not terminal.
    #[must_use]
    pub fn open() -> Self {
        Self::those(|state| !state.is_terminal())
    }

    /// Those that are terminal.
    #[must_use]
    pub fn terminal() -> Self {
        Self::those(TaskState::is_terminal)
    }

    /// Those that `next` may follow.
    #[must_use]
    pub fn before(next: TaskState) -> Self {
        Self::those(|state| state.may_become(next))
    }

    /// Those of a list.
    #[must_use]
    pub fn of(states: &[TaskState]) -> Self {
        Self::those(|state| states.contains(&state))
    }

    fn those(wanted: impl Fn(TaskState) -> bool) -> Self {
        let bits = TaskState::ALL.into_iter().filter(|state| wanted(*state));
        Self(bits.fold(0, |bits, state| bits | 1 << state.code()))
    }

    /// Whether a state is one of them.
    #[must_use]
    pub const fn has(self, state: TaskState) -> bool {
        self.0 & (1 << state.code()) != 0
    }
}
