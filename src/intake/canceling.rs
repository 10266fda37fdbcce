//! Tasks that their clients do not want any more.
//!
//! The task is canceled at once: it is ours. What its agent has not got yet is taken back in the same
//! commit. An agent that has got something is told, by a message with the header `a2a-kind: cancel` in
//! reply to the newest request; also where it gets something that was under way meanwhile.

use std::net::IpAddr;

use serde_json::json;

use super::{Intake, Made};
use crate::auth::audit::{Event, Outcome, actor};
use crate::envelope::{Origin, Principal};
use crate::protocol::json::string_of;
use crate::protocol::{Address, Limits, Message, Profile};
use crate::store::{Acceptance, Advance, Advanced, Direction, StoreError, StoredMessage, TaskRow};
use crate::task::change::Target;
use crate::task::request::{self, Kind, MESSAGE_SCHEMA, Request, Route};
use crate::task::state::States;
use crate::task::{self, Dialect, Role, TaskState};
use crate::telemetry::TaskEnd;

/// Who cancels.
#[derive(Debug, Clone)]
pub struct Canceling {
    /// The client.
    pub principal: Principal,
    /// Where it calls from.
    pub remote: IpAddr,
    /// The request it came in.
    pub request_id: String,
}

impl Intake {
    /// Cancels a task. Whether the caller may is not looked at here.
    ///
    /// # Errors
    /// When the database fails: nothing of it is done.
    pub async fn cancel_task(&self, row: &TaskRow, by: &Canceling) -> Result<Advanced, StoreError> {
        let now = self.clock.now();
        let target = Target {
            task: &row.id,
            context: &row.context,
            at: now,
        };
        let advance = Advance {
            task: row.id.clone(),
            from: States::open().0,
            steps: vec![target.step(TaskState::Canceled, None)],
            link: None,
            key: None,
            now,
        };
        let telling = self.cancellation(row, &by.request_id).await?;
        let ended = Box::pin(self.store.end_task(advance, telling)).await?;
        if matches!(ended.advanced, Advanced::Done { .. }) {
            self.note_canceled(row, by, ended.had);
        }
        Ok(ended.advanced)
    }

    fn note_canceled(&self, row: &TaskRow, by: &Canceling, had: bool) {
        self.metrics.tasks().ended(TaskEnd::Canceled);
        tracing::info!(
            task.id = row.id,
            agent.number = row.agent,
            task.agent_is_told = had,
            request.id = by.request_id,
            "a task was canceled"
        );
        if let Some(audit) = &self.audit {
            let event = Event::new(
                "task.canceled",
                actor(&by.principal),
                row.id.as_str(),
                Outcome::Done,
            );
            let event = event.in_request(&by.request_id, by.remote);
            audit.note(event.with(json!({ "agent_is_told": had })));
        }
    }

    /// The message that tells the agent of a task to stop; nothing where none can go to it.
    async fn cancellation(
        &self,
        row: &TaskRow,
        request_id: &str,
    ) -> Result<Option<Acceptance>, StoreError> {
        let Some(newest) = self.store.newest_request(&row.id).await? else {
            return Ok(None);
        };
        let Some(raw) = self.stop_message(row, &newest) else {
            return Ok(None);
        };
        let made = Made {
            raw,
            origin: Origin::A2a,
            request_id: request_id.to_owned(),
        };
        match Box::pin(self.judge_made(made)).await {
            Ok(acceptance) => Ok(Some(acceptance)),
            Err(refusal) => {
                tracing::warn!(
                    task.id = row.id,
                    error.code = refusal.code.as_str(),
                    "an agent cannot be told that its task is canceled"
                );
                Ok(None)
            }
        }
    }

    /// It goes the way the newest request went; nothing where that tells the agent to stop already.
    fn stop_message(&self, row: &TaskRow, newest: &StoredMessage) -> Option<bytes::Bytes> {
        let limits = Limits {
            message_size: usize::MAX,
            recipients: usize::MAX,
        };
        let asked = Message::parse(newest.body.clone(), Profile::Relay, &limits).ok()?;
        let header = |name: &str| {
            let value = asked.header(name)?;
            Some(string_of(value)?.into_owned())
        };
        if header("a2a-kind").as_deref() == Some("cancel") {
            return None;
        }
        let id = header("a2a-message-id").unwrap_or_else(|| row.id.clone());
        let said = task::Message {
            role: Role::User,
            ..task::Message::of_agent(id, "The task is canceled.")
        };
        let reply_to = header("reply-to").and_then(|text| Address::parse(&text).ok());
        let is_envelope = asked
            .schema()
            .is_some_and(|it| it.as_str() == MESSAGE_SCHEMA);
        Some(request::write(
            &Route {
                sender: asked.sender(),
                recipient: asked.recipients().first()?,
                reply_to: reply_to.as_ref(),
                message_id: &self.clock.mint_v7().into(),
                idempotency_key: &uuid::Uuid::new_v4().into(),
                in_reply_to: Some(&newest.message_id),
                now: self.clock.now(),
            },
            &Request {
                kind: Kind::Cancel,
                dialect: Dialect::from_code(row.dialect),
                message: &said.placed((&row.id, &row.context)),
                metadata: None,
                accepted_output_modes: &[],
                extensions: &[],
                attachments: &[],
                profile: match is_envelope {
                    true => request::Profile::Envelope,
                    false => request::Profile::Plain,
                },
            },
        ))
    }

    /// An agent has just got something of a task that was canceled meanwhile: it is told, unless it
    /// was.
    pub(super) async fn tell_canceled(
        &self,
        row: &TaskRow,
        request_id: &str,
    ) -> Result<(), StoreError> {
        let Some(telling) = self.cancellation(row, request_id).await? else {
            return Ok(());
        };
        let told = telling.envelope.message_id.clone();
        let advance = Advance {
            task: row.id.clone(),
            from: States::of(&[TaskState::Canceled]).0,
            steps: Vec::new(),
            link: Some((told, Direction::Asked)),
            key: None,
            now: self.clock.now(),
        };
        self.store
            .advance_task(advance, Some(telling))
            .await
            .map(drop)
    }
}
