//! The verb that changes a task: steps that are all taken, in order, or none is.
//!
//! Each step says in which states it may be taken. The state is read, with a lock, in the commit that
//! changes it. What comes with the change, a message to the agent or the agent's answer, is stored in
//! the same commit, and is not where the change is refused.

use super::{Direction, link, pushes, remember, repeated, task_topic};
use crate::events::Topic;
use crate::protocol::{ErrorCode, MessageId, Timestamp};
use crate::store::Store;
use crate::store::accept::{Acceptance, Decision};
use crate::store::committer::{Patience, Verb};
use crate::store::error::StoreError;
use crate::store::sql::{Connection, Statement};

/// Events of a task; what ends it comes through also beyond that.
const MOST_EVENTS: i64 = 10_000;
/// Bytes of the events and messages of a task; likewise.
const LARGEST: i64 = 64 * 1_024 * 1_024;
/// The numbers of the last states.
const LAST: [i64; 4] = [3, 4, 5, 7];

/// Whether a step depends on what the client has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum When {
    /// It does not.
    #[default]
    Always,
    /// Only where the client has not seen the task.
    Held,
    /// Only where it has.
    Shown,
}

/// What a step means that cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Otherwise {
    /// Nothing of the change is done.
    #[default]
    Refuse,
    /// It is left out.
    Skip,
}

/// A new status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewStatus {
    /// The number of the state.
    pub state: i64,
    /// The status, as JSON.
    pub body: Vec<u8>,
}

/// A piece of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactPiece {
    /// The artifact.
    pub artifact: String,
    /// Whether it comes behind the pieces that are there; else it takes their place.
    pub append: bool,
    /// The piece, as JSON.
    pub body: Vec<u8>,
}

/// One step of a change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskStep {
    /// The states in which it may be taken: bit `n` is the state of number `n`.
    pub from: u16,
    /// Whether it depends on what the client has seen.
    pub when: When,
    /// What it means that it cannot be taken.
    pub otherwise: Otherwise,
    /// The new status.
    pub status: Option<NewStatus>,
    /// What those see who follow the task, as JSON.
    pub event: Option<Vec<u8>>,
    /// What was said, as JSON.
    pub message: Option<Vec<u8>>,
    /// More of an artifact; only with an event.
    pub artifact: Option<ArtifactPiece>,
    /// Whether the client never sees the task: it gets an answer instead.
    pub close: bool,
}

/// A change of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// The task.
    pub task: String,
    /// The states in which it may be made, as in a step.
    pub from: u16,
    /// Its steps.
    pub steps: Vec<TaskStep>,
    /// The message it comes with.
    pub link: Option<(MessageId, Direction)>,
    /// What names a request that may be repeated.
    pub key: Option<String>,
    /// The present moment.
    pub now: Timestamp,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advanced {
    /// It is made.
    Done {
        /// The number of the state.
        state: i64,
        /// The position of the last event.
        seq: i64,
        /// What was decided of the message that came with it.
        decision: Option<Decision>,
    },
    /// The state, of this number, does not allow it.
    Refused(i64),
    /// The request was made before.
    Known,
    /// The task has no room for more.
    Full,
    /// There is no such task.
    Unknown,
}

impl Advanced {
    /// What an agent is told whose answer does not change the task.
    pub(in crate::store) fn refusal(&self) -> Option<ErrorCode> {
        match self {
            Self::Done { .. } | Self::Known => None,
            Self::Refused(state) if LAST.contains(state) => Some(ErrorCode::TaskTerminal),
            Self::Refused(_) => Some(ErrorCode::Conflict),
            Self::Full => Some(ErrorCode::MessageTooLarge),
            Self::Unknown => Some(ErrorCode::AgentUnknown),
        }
    }
}

impl Store {
    /// Changes a task, and accepts the message that comes with that.
    ///
    /// # Errors
    /// When the database fails: nothing of it is stored.
    pub async fn advance_task(
        &self,
        advance: Advance,
        message: Option<Acceptance>,
    ) -> Result<Advanced, StoreError> {
        let committing = &self.0.committing;
        let messages = message.into_iter().collect();
        let done = committing.commit_bringing(advance, messages, Patience::Short);
        let (mut advanced, mut decisions) = done.await?;
        if let Advanced::Done { decision, .. } = &mut advanced {
            *decision = decisions.pop();
        }
        Ok(advanced)
    }

    /// Notes that the client of a task has seen it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn show_task(&self, task: String) -> Result<(), StoreError> {
        self.0.committing.commit(Show(task)).await
    }
}

struct Show(String);

impl Verb for Show {
    type Answer = ();

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<()> {
        // One that was answered otherwise stays away.
        let update =
            Statement::new("UPDATE tasks SET held_until = 0 WHERE id = ? AND held_until < ?");
        let update = update.bind(self.0.as_str()).bind(i64::MAX);
        tx.run(update).await.map(drop)
    }
}

/// A task while steps are taken.
#[derive(Clone, Copy)]
struct Standing {
    state: i64,
    seq: i64,
    said: i64,
    size: i64,
    held_until: i64,
}

impl Standing {
    async fn read(tx: &mut Connection, task: &str) -> sqlx::Result<Option<Self>> {
        let text = format!(
            "SELECT state, seq, said, size, held_until FROM tasks WHERE id = ?{}",
            tx.locking("tasks")
        );
        let Some(row) = tx.row(Statement::new(text).bind(task)).await? else {
            return Ok(None);
        };
        Ok(Some(Self {
            state: row.int(0)?,
            seq: row.int(1)?,
            said: row.int(2)?,
            size: row.int(3)?,
            held_until: row.int(4)?,
        }))
    }

    const fn is_in(&self, states: u16) -> bool {
        states & (1 << self.state) != 0
    }

    fn allows(&self, step: &TaskStep, now: Timestamp) -> bool {
        let held = self.held_until > now.as_millis();
        let fits = match step.when {
            When::Always => true,
            When::Held => held,
            When::Shown => !held,
        };
        fits && self.is_in(step.from)
    }

    /// As it is after a step.
    fn after(mut self, step: &TaskStep) -> Self {
        let length = |body: &Option<Vec<u8>>| {
            let bytes = body.as_ref().map_or(0, Vec::len);
            i64::try_from(bytes).unwrap_or(i64::MAX)
        };
        self.seq += i64::from(step.event.is_some());
        self.said += i64::from(step.message.is_some());
        let more = length(&step.event).saturating_add(length(&step.message));
        self.size = self.size.saturating_add(more);
        if let Some(status) = &step.status {
            self.state = status.state;
        }
        if step.close {
            self.held_until = i64::MAX;
        }
        self
    }

    fn is_full(&self) -> bool {
        !LAST.contains(&self.state) && (self.seq > MOST_EVENTS || self.size > LARGEST)
    }
}

impl Verb for Advance {
    type Answer = Advanced;

    fn brings(answer: &Advanced) -> bool {
        matches!(answer, Advanced::Done { .. })
    }

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<Advanced> {
        if repeated(tx, self.key.as_deref()).await?.is_some() {
            return Ok(Advanced::Known);
        }
        let Some(before) = Standing::read(tx, &self.task).await? else {
            return Ok(Advanced::Unknown);
        };
        if !before.is_in(self.from) {
            return Ok(Advanced::Refused(before.state));
        }
        let (taken, after) = match self.taken(before) {
            Ok(taken) => taken,
            Err(answer) => return Ok(answer),
        };
        remember(tx, self.key.as_deref(), &self.task).await?;
        for (step, standing) in &taken {
            self.write(tx, step, *standing).await?;
        }
        self.update(tx, &taken, after).await?;
        if let Some((message, direction)) = &self.link {
            link(tx, &self.task, (message, *direction)).await?;
        }
        topics.push(task_topic(&self.task));
        if after.seq > before.seq && pushes::wake(tx, &self.task, self.now).await? {
            topics.push(Topic::Pushes);
        }
        Ok(Advanced::Done {
            state: after.state,
            seq: after.seq,
            decision: None,
        })
    }
}

type Taken<'a> = (Vec<(&'a TaskStep, Standing)>, Standing);

impl Advance {
    /// The steps that are taken, each with the task as it is after it.
    fn taken(&self, before: Standing) -> Result<Taken<'_>, Advanced> {
        let mut taken = Vec::with_capacity(self.steps.len());
        let mut standing = before;
        for step in &self.steps {
            if !standing.allows(step, self.now) {
                match step.otherwise {
                    Otherwise::Skip => continue,
                    Otherwise::Refuse => return Err(Advanced::Refused(standing.state)),
                }
            }
            standing = standing.after(step);
            if standing.is_full() {
                return Err(Advanced::Full);
            }
            taken.push((step, standing));
        }
        Ok((taken, standing))
    }

    async fn write(
        &self,
        tx: &mut Connection,
        step: &TaskStep,
        standing: Standing,
    ) -> sqlx::Result<()> {
        let task = self.task.as_str();
        if let Some(message) = &step.message {
            let insert =
                Statement::new("INSERT INTO task_history (task, n, body) VALUES (?, ?, ?)");
            tx.run(
                insert
                    .bind(task)
                    .bind(standing.said)
                    .bind(message.as_slice()),
            )
            .await?;
        }
        let Some(event) = &step.event else {
            return Ok(());
        };
        let insert =
            Statement::new("INSERT INTO task_events (task, seq, at, body) VALUES (?, ?, ?, ?)")
                .bind(task)
                .bind(standing.seq)
                .bind(self.now.as_millis())
                .bind(event.as_slice());
        tx.run(insert).await?;
        match &step.artifact {
            Some(piece) => self.piece(tx, piece, standing.seq).await,
            None => Ok(()),
        }
    }

    /// A new piece; where it takes the place of others, it takes theirs in the order too.
    async fn piece(
        &self,
        tx: &mut Connection,
        piece: &ArtifactPiece,
        seq: i64,
    ) -> sqlx::Result<()> {
        let (task, artifact) = (self.task.as_str(), piece.artifact.as_str());
        let first =
            Statement::new("SELECT min(place) FROM task_artifacts WHERE task = ? AND artifact = ?");
        let first = tx.row(first.bind(task).bind(artifact)).await?;
        let first = first.map(|row| row.maybe_int(0)).transpose()?.flatten();
        if first.is_some() && !piece.append {
            let delete =
                Statement::new("DELETE FROM task_artifacts WHERE task = ? AND artifact = ?");
            tx.run(delete.bind(task).bind(artifact)).await?;
        }
        let insert = Statement::new(
            "INSERT INTO task_artifacts (task, artifact, seq, place, body) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(task)
        .bind(artifact)
        .bind(seq)
        .bind(first.unwrap_or(seq))
        .bind(piece.body.as_slice());
        tx.run(insert).await.map(drop)
    }

    async fn update(
        &self,
        tx: &mut Connection,
        taken: &[(&TaskStep, Standing)],
        after: Standing,
    ) -> sqlx::Result<()> {
        let status = taken
            .iter()
            .filter_map(|(step, _)| step.status.as_ref())
            .next_back();
        let text = match (status.is_some(), LAST.contains(&after.state)) {
            (false, _) => "",
            (true, false) => ", status = ?, changed_at = ?",
            (true, true) => ", status = ?, changed_at = ?, deadline_at = NULL",
        };
        let mut update = Statement::new(format!(
            "UPDATE tasks SET state = ?, seq = ?, said = ?, size = ?, held_until = ?{text} WHERE id = ?"
        ))
        .bind(after.state)
        .bind(after.seq)
        .bind(after.said)
        .bind(after.size)
        .bind(after.held_until);
        if let Some(status) = status {
            update = update
                .bind(status.body.as_slice())
                .bind(self.now.as_millis());
        }
        tx.run(update.bind(self.task.as_str())).await.map(drop)
    }
}
