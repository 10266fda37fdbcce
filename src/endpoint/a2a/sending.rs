//! A message of a client: a new task, or more to one that waits for it.

use super::calling::Call;
use super::dialect::Sending;
use super::dialect::error::{A2aError, Kind};
use super::tools::A2a;
use crate::protocol::{ErrorCode, Timestamp};
use crate::store::{
    Advance, Advanced, Decision, Direction, Fate, NewPush, NewTask, OpenedTask, TaskRow,
};
use crate::task::change::{Target, bytes};
use crate::task::state::States;
use crate::task::{
    Content, Fault, Message, Part, PushConfig, SendRequest, StreamResponse, Task, TaskState,
    TaskStatus, push,
};

/// Who shows no credential owns what its name says: it must not be guessed.
const UNGUESSED: usize = 32;

/// How a client wants to hear of the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// It waits for the result, and has not seen the task before.
    Waits,
    /// It sees the task at once.
    Looks,
}

/// A task that a message made or continued.
pub(super) struct Begun {
    pub(super) id: String,
    /// As it was made, where it is new.
    pub(super) fresh: Option<StreamResponse>,
}

impl Begun {
    fn known(id: String) -> Self {
        Self { id, fresh: None }
    }
}

impl A2a {
    /// Takes a message: both the task and the message to the agent are on disk when it answers.
    ///
    /// # Errors
    /// Nothing of it is kept.
    pub(super) async fn begin(
        &self,
        call: &Call,
        sending: &Sending,
        manner: Manner,
    ) -> Result<Begun, A2aError> {
        fits(
            &call.agent.settings.a2a.input_modes,
            &sending.request.message,
        )?;
        if sending.request.configuration.push.is_some() && !self.posts() {
            return Err(no_pushes());
        }
        match self.continued(call, sending).await? {
            Some(row) => self.go_on(call, row, &sending.request).await,
            None => self.open(call, sending, manner).await,
        }
    }

    /// The task that a message belongs to; nothing for one that makes a new one.
    async fn continued(&self, call: &Call, sending: &Sending) -> Result<Option<TaskRow>, A2aError> {
        let message = &sending.request.message;
        let row = match (&message.task_id, &sending.alias) {
            (Some(id), _) => {
                let row = self.task(call, id).await?;
                if is_over(&row) {
                    return Err(over());
                }
                Some(row)
            }
            (None, Some(alias)) => {
                if !call.is_known() && alias.len() < UNGUESSED {
                    let rule = format_args!(
                        "must have at least {UNGUESSED} characters where no credential is shown"
                    );
                    return Err(Fault::new("id", rule).into());
                }
                let row = self.aliased(call, alias).await?;
                row.filter(|row| !is_over(row))
            }
            (None, None) => None,
        };
        if let (Some(row), Some(context)) = (&row, &message.context_id)
            && row.context != *context
        {
            let rule = "is not the context of the task";
            return Err(Fault::new("message.contextId", rule).into());
        }
        Ok(row)
    }

    async fn open(
        &self,
        call: &Call,
        sending: &Sending,
        manner: Manner,
    ) -> Result<Begun, A2aError> {
        let request = &sending.request;
        let (id, now) = (self.clock.mint_v7().to_string(), self.clock.now());
        let context = request.message.context_id.clone();
        let context = context.unwrap_or_else(|| self.clock.mint_v7().to_string());
        let message = request.message.clone().placed((&id, &context));
        let letter = self.letter(call, (&message, request), None).await?;
        let status = TaskStatus {
            state: TaskState::Submitted,
            message: None,
            timestamp: Some(now),
        };
        let push = self.push(call, (&id, request.configuration.push.as_ref()))?;
        // Who is told elsewhere sees the task there.
        let held_until = match manner {
            Manner::Waits if push.is_none() => now.plus(self.rules.blocking_max_wait),
            _ => Timestamp::from_millis(0),
        };
        let key = call.repeatable("");
        let is_repeatable = key.is_some();
        let name = sending.alias.as_deref().unwrap_or(&id);
        let seconds = call.agent.settings.a2a.deadline_seconds;
        let new = NewTask {
            agent: call.agent.id,
            owner: call.owner(name).as_str().to_owned(),
            context: context.clone(),
            dialect: call.dialect.code(),
            alias: sending.alias.clone(),
            state: TaskState::Submitted.code(),
            status: bytes(&status),
            message: bytes(&message),
            metadata: None,
            request: Some(letter.id),
            key,
            held_until,
            deadline_at: seconds.map(|it| now.plus(std::time::Duration::from_secs(it))),
            push,
            now,
            id: id.clone(),
        };
        let opened = self.store.open_task(new, Some(letter.acceptance)).await?;
        match opened {
            OpenedTask::New(decision) => {
                self.undelivered((&id, &context), decision.as_ref()).await?;
            }
            OpenedTask::Known(known) if is_repeatable => return Ok(Begun::known(known)),
            // Another message under this name was faster.
            OpenedTask::Known(known) => {
                let row = self.store.find_any_task(&known).await?;
                let row = row.ok_or_else(|| A2aError::no_task(&known))?;
                return Box::pin(self.go_on(call, row, request)).await;
            }
        }
        let fresh = Task {
            id: id.clone(),
            context_id: context,
            status,
            artifacts: Vec::new(),
            history: vec![message],
            metadata: None,
        };
        Ok(Begun {
            id,
            fresh: Some(StreamResponse::Task(fresh)),
        })
    }

    async fn go_on(
        &self,
        call: &Call,
        row: TaskRow,
        request: &SendRequest,
    ) -> Result<Begun, A2aError> {
        let now = self.clock.now();
        let message = request.message.clone().placed((&row.id, &row.context));
        let last = self.store.last_task_message(&row.id).await?;
        let letter = self
            .letter(call, (&message, request), last.as_ref())
            .await?;
        let target = Target {
            task: &row.id,
            context: &row.context,
            at: now,
        };
        let advance = Advance {
            task: row.id.clone(),
            from: States::open().0,
            steps: target.said(&message),
            link: Some((letter.id, Direction::Asked)),
            key: call.repeatable(&row.id),
            now,
        };
        let done = self.store.advance_task(advance, Some(letter.acceptance));
        match done.await? {
            Advanced::Done { decision, .. } => {
                let names = (row.id.as_str(), row.context.as_str());
                self.undelivered(names, decision.as_ref()).await?;
            }
            Advanced::Known => return Ok(Begun::known(row.id)),
            Advanced::Refused(_) => return Err(over()),
            Advanced::Full => {
                let text = "the task has no room for more";
                return Err(A2aError::new(Kind::InvalidParams, text));
            }
            Advanced::Unknown => return Err(A2aError::no_task(&row.id)),
        }
        if let Some(push) = self.push(call, (&row.id, request.configuration.push.as_ref()))? {
            self.put_push(&row.id, push).await?;
        }
        Ok(Begun::known(row.id))
    }

    /// Where changes are to be posted, as it is stored.
    fn push(
        &self,
        call: &Call,
        (task, config): (&str, Option<&PushConfig>),
    ) -> Result<Option<NewPush>, A2aError> {
        let Some(config) = config else {
            return Ok(None);
        };
        let Some(sealer) = self.sealer.as_ref().filter(|_| self.posts()) else {
            return Err(no_pushes());
        };
        let marks = (call.dialect, self.clock.now());
        Ok(Some(push::stored(config, task, marks, sealer)))
    }

    /// Stores a place where changes of a task are posted.
    pub(super) async fn put_push(&self, task: &str, push: NewPush) -> Result<(), A2aError> {
        match self.store.put_push(task.to_owned(), push).await? {
            None => Err(A2aError::no_task(task)),
            Some(true) => Ok(()),
            Some(false) => {
                let text = "the task has as many push notification configurations as it may";
                Err(A2aError::new(Kind::InvalidParams, text))
            }
        }
    }

    /// Where the message to the agent could not be stored for it, the task has failed.
    async fn undelivered(
        &self,
        (task, context): (&str, &str),
        decision: Option<&Decision>,
    ) -> Result<(), A2aError> {
        let code = match decision {
            Some(Decision::Conflict) => ErrorCode::Conflict,
            Some(Decision::Taken { fates, .. }) => match fates.first() {
                Some(Fate::Refused(code)) => *code,
                _ => return Ok(()),
            },
            None => return Ok(()),
        };
        let now = self.clock.now();
        let target = Target {
            task,
            context,
            at: now,
        };
        let text = format!("{}: {}", code.as_str(), code.text());
        let said = Message::of_agent(self.clock.mint_v7().to_string(), text);
        let advance = Advance {
            task: task.to_owned(),
            from: States::open().0,
            steps: vec![target.step(TaskState::Failed, Some(said))],
            link: None,
            key: None,
            now,
        };
        self.store.advance_task(advance, None).await?;
        Ok(())
    }
}

/// Nothing is posted here.
pub(super) fn no_pushes() -> A2aError {
    let text = "this gateway posts no push notifications";
    A2aError::new(Kind::PushNotSupported, text)
}

fn over() -> A2aError {
    let text = "the task has ended: send a message without its id to begin another";
    A2aError::new(Kind::UnsupportedOperation, text)
}

/// Whether a task never changes any more.
pub(super) fn is_over(row: &TaskRow) -> bool {
    TaskState::from_code(row.state).is_none_or(TaskState::is_terminal)
}

/// Whether every part is of a type that the agent takes.
fn fits(modes: &[String], message: &Message) -> Result<(), A2aError> {
    if modes.is_empty() {
        return Ok(());
    }
    for (at, part) in message.parts.iter().enumerate() {
        let found = media_type(part);
        let essence = found.split(';').next().unwrap_or_default().trim();
        if !modes.iter().any(|mode| takes(mode, essence)) {
            let text = format!("this agent does not take {essence}");
            let error = A2aError::new(Kind::ContentTypeNotSupported, text);
            let shown: String = essence.chars().take(100).collect();
            return Err(error
                .with("field", format!("message.parts[{at}].mediaType"))
                .with("mediaType", shown));
        }
    }
    Ok(())
}

fn media_type(part: &Part) -> &str {
    let usual = match part.content {
        Content::Text(_) => "text/plain",
        Content::Data(_) => "application/json",
        Content::Raw(_) | Content::Url(_) => "application/octet-stream",
    };
    part.media_type.as_deref().unwrap_or(usual)
}

/// Whether a media type is meant by one that may have `*`.
fn takes(mode: &str, found: &str) -> bool {
    let (Some((kind, rest)), Some((of, what))) = (mode.split_once('/'), found.split_once('/'))
    else {
        return false;
    };
    let same = |mode: &str, found: &str| mode == "*" || mode.eq_ignore_ascii_case(found);
    same(kind, of) && same(rest, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_types_are_taken() {
        let message = |part| Message {
            parts: vec![part],
            ..Message::of_agent("m", "")
        };
        let typed = |media_type: &str| Part {
            media_type: Some(media_type.to_owned()),
            ..Part::of(Content::Raw("AA==".to_owned()))
        };
        for (modes, part, taken) in [
            (&[][..], typed("image/png"), true),
            (&["text/plain"], Part::text("x"), true),
            (&["application/json"], Part::text("x"), false),
            (&["image/*"], typed("IMAGE/png; q=1"), true),
            (&["image/png"], typed("image/gif"), false),
            (&["*/*"], typed("image/gif"), true),
            (&["image/*"], typed("nonsense"), false),
            (
                &["application/octet-stream"],
                Part::of(Content::Url("https://a.test/x".to_owned())),
                true,
            ),
        ] {
            let modes: Vec<String> = modes.iter().map(|it| (*it).to_owned()).collect();
            assert_eq!(fits(&modes, &message(part)).is_ok(), taken, "{modes:?}");
        }
    }
}
