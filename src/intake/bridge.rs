//! Answers to tasks: mail for `a2a+TASK` at one of our domains, or to the agent that asked by A2A, in
//! reply to what it asked.
//!
//! Only the agent of a task may answer it, and only mail of our own makes it fail: a notice that the
//! request could not be delivered. Everybody else is told that there is nobody of this name, as for a
//! task that is not there.

use super::{Intake, Refusal};
use crate::envelope::{Envelope, Origin};
use crate::protocol::{Address, Bounce, ErrorCode};
use crate::store::{Advance, Direction, Plan, StoreError, StoredMessage, TaskRow};
use crate::task::change::{Change, Target};
use crate::task::reply::{Answered, changes};
use crate::task::request::task_of_address;
use crate::task::state::States;
use crate::task::{Message, Owner, TaskState};

impl Intake {
    /// What becomes of mail for this recipient, where it is for a task.
    pub(super) async fn bridge(
        &self,
        envelope: &Envelope,
        address: &Address,
    ) -> Result<Option<Plan>, Refusal> {
        let local = self.is_local(address.domain());
        match task_of_address(address).filter(|_| local) {
            Some(task) => Ok(Some(
                match Box::pin(self.store.find_any_task(task)).await? {
                    Some(row) => Box::pin(self.task_change(envelope, row)).await?,
                    None => Plan::Refused(ErrorCode::AgentUnknown),
                },
            )),
            None if local && envelope.answers.is_some() => {
                Box::pin(self.asked_by(envelope, address)).await
            }
            None => Ok(None),
        }
    }

    /// Mail to an agent that asked by A2A: an answer to that is for the task, and not for its inbox.
    async fn asked_by(
        &self,
        envelope: &Envelope,
        address: &Address,
    ) -> Result<Option<Plan>, Refusal> {
        let Some(original) = &envelope.answers else {
            return Ok(None);
        };
        let Some(row) = self.store.find_task_of_message(original).await? else {
            return Ok(None);
        };
        let asker = self.names.find(&self.store, address).await?;
        let is_owner = asker.is_some_and(|agent| row.owner == Owner::of_agent(agent.id).as_str());
        let answers = envelope.origin == Origin::Bounce || self.is_of_agent(envelope, &row).await?;
        match is_owner && answers {
            true => Ok(Some(self.task_change(envelope, row).await?)),
            false => Ok(None),
        }
    }

    async fn task_change(&self, envelope: &Envelope, row: TaskRow) -> Result<Plan, Refusal> {
        let unknown = Plan::Refused(ErrorCode::AgentUnknown);
        let target = Target {
            task: &row.id,
            context: &row.context,
            at: envelope.received_at,
        };
        let changes = if envelope.origin == Origin::Bounce {
            self.task_failed(envelope, &target).await?
        } else if self.is_of_agent(envelope, &row).await? {
            Some(self.task_said(envelope, &target)?)
        } else {
            None
        };
        let Some(changes) = changes else {
            return Ok(unknown);
        };
        Ok(Plan::Bridge(Box::new(Advance {
            task: row.id.clone(),
            from: States::open().0,
            steps: target.steps(&changes),
            link: Some((envelope.message_id.clone(), Direction::Answered)),
            key: None,
            now: envelope.received_at,
        })))
    }

    /// Notes that an agent has a message: the task that asked so is being worked on; where it was
    /// canceled meanwhile, the agent is told. What goes wrong is only logged: the message is with the agent all the same.
    pub async fn note_handed_over(&self, message: &StoredMessage) {
        if message.origin != Origin::A2a {
            return;
        }
        if let Err(error) = Box::pin(self.handed_over(message)).await {
            let id = message.message_id.as_str();
            tracing::warn!(message.id = id, %error, "that a task is worked on could not be noted");
        }
    }

    async fn handed_over(&self, message: &StoredMessage) -> Result<(), StoreError> {
        let id = &message.message_id;
        let Some(row) = self.store.find_task_of_message(id).await? else {
            return Ok(());
        };
        if row.state == TaskState::Canceled.code() {
            return Box::pin(self.tell_canceled(&row, &message.notes.request_id)).await;
        }
        if row.state != TaskState::Submitted.code() {
            return Ok(());
        }
        let now = self.clock.now();
        let target = Target {
            task: &row.id,
            context: &row.context,
            at: now,
        };
        let advance = Advance {
            task: row.id.clone(),
            from: States::of(&[TaskState::Submitted]).0,
            steps: vec![target.delivered()],
            link: None,
            key: None,
            now,
        };
        self.store.advance_task(advance, None).await.map(drop)
    }

    /// Whether the sender is the agent that the task was given to. That it is who it says is known:
    /// it is one of ours.
    async fn is_of_agent(&self, envelope: &Envelope, row: &TaskRow) -> Result<bool, Refusal> {
        let agent = self.store.find_agent_by_number(row.agent).await?;
        let sender = envelope.message.sender();
        Ok(envelope.origin != Origin::Peer && agent.is_some_and(|agent| agent.address == *sender))
    }

    fn task_said(&self, envelope: &Envelope, target: &Target<'_>) -> Result<Vec<Change>, Refusal> {
        let answered = Answered {
            task: target.task,
            context: target.context,
            at: target.at,
            mint: &mut || self.clock.mint_v7().to_string(),
        };
        changes(&envelope.message, answered).map_err(|fault| {
            Refusal::new(ErrorCode::InvalidMessageFormat)
                .with_detail("field", fault.field.into())
                .with_detail("error", fault.problem.into())
        })
    }

    /// A request of the task could not be delivered.
    async fn task_failed(
        &self,
        envelope: &Envelope,
        target: &Target<'_>,
    ) -> Result<Option<Vec<Change>>, Refusal> {
        let Some(bounce) = Bounce::from_message(&envelope.message) else {
            return Ok(None);
        };
        let original = &bounce.original_message_id;
        let of = self.store.find_task_of_message(original).await?;
        if of.is_none_or(|row| row.id != target.task) {
            return Ok(None);
        }
        let text = format!("{}: {}", bounce.error_code, bounce.error_message);
        let said = Message::of_agent(self.clock.mint_v7().to_string(), text);
        let update = target.update(TaskState::Failed, Some(said));
        Ok(Some(vec![Change::Status(update)]))
    }
}
