//! The verb that opens a task, in one commit with the message to its agent.

use super::pushes::{self, NewPush};
use super::{Direction, link, remember, repeated};
use crate::events::Topic;
use crate::protocol::{MessageId, Timestamp};
use crate::store::Store;
use crate::store::accept::{Acceptance, Decision};
use crate::store::committer::{Patience, Verb};
use crate::store::error::StoreError;
use crate::store::sql::{Connection, Statement};

/// A task to open.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// Its id, which nobody gave away before.
    pub id: String,
    /// The number of the agent.
    pub agent: i64,
    /// Who makes it.
    pub owner: String,
    /// The conversation.
    pub context: String,
    /// The number of the dialect.
    pub dialect: i64,
    /// The name an early client gives it. It names this task from now on, unless it names one that
    /// has not ended.
    pub alias: Option<String>,
    /// The number of its state.
    pub state: i64,
    /// Its status, as JSON.
    pub status: Vec<u8>,
    /// What the client said, as JSON.
    pub message: Vec<u8>,
    /// What else is said of it, as JSON.
    pub metadata: Option<Vec<u8>>,
    /// The message to the agent.
    pub request: Option<MessageId>,
    /// What names a request that may be repeated.
    pub key: Option<String>,
    /// Until when its client may wait for it without having seen it; the epoch where it sees it at once.
    pub held_until: Timestamp,
    /// When it fails if it has not ended.
    pub deadline_at: Option<Timestamp>,
    /// Where changes are posted.
    pub push: Option<NewPush>,
    /// The present moment.
    pub now: Timestamp,
}

/// What became of a task that was to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenedTask {
    /// It is open. With what was decided of the message to the agent.
    New(Option<Decision>),
    /// The request was made before, or the alias names a task that has not ended: this one.
    Known(String),
}

impl Store {
    /// Opens a task, and accepts the message to its agent.
    ///
    /// # Errors
    /// When the database fails: neither is stored.
    pub async fn open_task(
        &self,
        task: NewTask,
        message: Option<Acceptance>,
    ) -> Result<OpenedTask, StoreError> {
        let committing = &self.0.committing;
        let messages = message.into_iter().collect();
        let done = committing.commit_bringing(Open(task), messages, Patience::Short);
        let (known, mut decisions) = done.await?;
        Ok(match known {
            Some(id) => OpenedTask::Known(id),
            None => OpenedTask::New(decisions.pop()),
        })
    }
}

struct Open(NewTask);

impl Verb for Open {
    /// The task that is there already.
    type Answer = Option<String>;

    fn brings(known: &Self::Answer) -> bool {
        known.is_none()
    }

    async fn apply<'a>(
        &'a self,
        tx: &'a mut Connection,
        _topics: &'a mut Vec<Topic>,
    ) -> sqlx::Result<Option<String>> {
        let new = &self.0;
        if let Some(known) = repeated(tx, new.key.as_deref()).await? {
            return Ok(Some(known));
        }
        if let Some(known) = self.named(tx).await? {
            return Ok(Some(known));
        }
        remember(tx, new.key.as_deref(), &new.id).await?;
        self.insert(tx).await?;
        let said = Statement::new("INSERT INTO task_history (task, n, body) VALUES (?, 1, ?)");
        tx.run(said.bind(new.id.as_str()).bind(new.message.as_slice()))
            .await?;
        if let Some(request) = &new.request {
            link(tx, &new.id, (request, Direction::Asked)).await?;
        }
        if let Some(push) = &new.push {
            pushes::put(tx, &new.id, push, 0).await?;
        }
        Ok(None)
    }
}

impl Open {
    /// The task that has the alias and has not ended; else the alias is given to the new one.
    async fn named(&self, tx: &mut Connection) -> sqlx::Result<Option<String>> {
        let new = &self.0;
        let Some(alias) = &new.alias else {
            return Ok(None);
        };
        let select = Statement::new(
            "SELECT t.id FROM task_aliases a JOIN tasks t ON t.id = a.task \
             WHERE a.owner = ? AND a.agent = ? AND a.alias = ? AND t.state NOT IN (3, 4, 5, 7)",
        )
        .bind(new.owner.as_str())
        .bind(new.agent)
        .bind(alias.as_str());
        if let Some(row) = tx.row(select).await? {
            return row.text(0).map(Some);
        }
        let put = Statement::new(
            "INSERT INTO task_aliases (owner, agent, alias, task) VALUES (?, ?, ?, ?) \
             ON CONFLICT (owner, agent, alias) DO UPDATE SET task = excluded.task",
        )
        .bind(new.owner.as_str())
        .bind(new.agent)
        .bind(alias.as_str())
        .bind(new.id.as_str());
        tx.run(put).await?;
        Ok(None)
    }

    async fn insert(&self, tx: &mut Connection) -> sqlx::Result<()> {
        let new = &self.0;
        let insert = Statement::new(
            "INSERT INTO tasks (id, agent, owner, context, dialect, alias, state, status, changed_at, created_at, \
             seq, said, size, held_until, deadline_at, metadata) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 1, ?, ?, ?, ?)",
        )
        .bind(new.id.as_str())
        .bind(new.agent)
        .bind(new.owner.as_str())
        .bind(new.context.as_str())
        .bind(new.dialect)
        .bind(new.alias.as_deref())
        .bind(new.state)
        .bind(new.status.as_slice())
        .bind(new.now.as_millis())
        .bind(new.now.as_millis())
        .bind(i64::try_from(new.message.len()).unwrap_or(i64::MAX))
        .bind(new.held_until.as_millis())
        .bind(new.deadline_at.map(Timestamp::as_millis))
        .bind(new.metadata.clone());
        tx.run(insert).await.map(drop)
    }
}
