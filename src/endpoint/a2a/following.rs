//! Streams of what happens to a task, as server-sent events.
//!
//! - The first event is the task, then everything that happened behind it, in the order of the log, the
//!   same for every stream. The id of an event is its position there: who comes again with
//!   `Last-Event-ID` gets what came behind it.
//! - The next event is read when the connection took the one before: a reader that is slow holds up
//!   nobody, and no more than a few events of it are in memory.
//! - Comments show that a stream lives. That it ends changes nothing of the task.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::dialect::error::A2aError;
use super::dialect::{envelope, v01, v1, v03};
use super::tools::A2a;
use crate::endpoint::pieces::{self, Source};
use crate::events::Subscription;
use crate::store::{TaskEvent, task_topic};
use crate::task::{Dialect, Json, StreamResponse, Task, TaskState, whole};

/// The server gives a connection up on which nothing moves for thirty seconds.
const LONGEST_SILENCE: Duration = Duration::from_secs(15);
/// What another gateway tells may get lost: look by ourselves so often.
const LOOK: Duration = Duration::from_secs(5);
/// Events read at a time, as long as they are small.
const PAGE: u32 = 64;
/// Bytes of an event on the average, above which they are read one by one.
const SMALL: usize = 4 * 1_024;

/// How events are written.
pub(super) enum Wrap {
    /// As they are.
    Bare,
    /// As the answer to a call of this id.
    Call(Json),
}

/// What a stream is about.
pub(super) struct Subject {
    pub(super) task: String,
    /// The position behind which it begins.
    pub(super) after: i64,
    /// The task at that position, unless the client has seen it.
    pub(super) first: Option<StreamResponse>,
    /// The results at that position.
    pub(super) known: Vec<String>,
    /// Whether it ends where the client is asked for something.
    pub(super) until_asked: bool,
    /// Its place among those who wait.
    #[expect(dead_code, reason = "it is given back when the stream ends")]
    pub(super) place: OwnedSemaphorePermit,
}

/// An open stream.
pub(super) struct Follow {
    a2a: A2a,
    subject: Subject,
    pending: VecDeque<TaskEvent>,
    page: u32,
    changes: Subscription,
    dialect: Dialect,
    /// The name that the client gave the task, in 0.1.
    alias: String,
    indexes: v01::Indexes,
    wrap: Wrap,
}

impl Subject {
    /// What a stream about a task begins with.
    pub(super) fn of(
        (task, after): (Task, i64),
        until_asked: bool,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let artifacts = task.artifacts.iter();
        Self {
            task: task.id.clone(),
            after,
            known: artifacts.map(|it| it.artifact_id.clone()).collect(),
            first: Some(StreamResponse::Task(task)),
            until_asked,
            place,
        }
    }
}

impl Follow {
    /// A stream.
    pub(super) fn new(
        a2a: &A2a,
        subject: Subject,
        (dialect, alias): (Dialect, String),
        wrap: Wrap,
    ) -> Self {
        Self {
            changes: a2a.store.events().subscribe(task_topic(&subject.task)),
            indexes: v01::Indexes::new(subject.known.clone()),
            a2a: a2a.clone(),
            subject,
            pending: VecDeque::new(),
            page: 1,
            dialect,
            alias,
            wrap,
        }
    }

    /// The body of an answer.
    pub(super) fn into_body(self) -> Body {
        pieces::body(self)
    }

    /// The next event; nothing where there is none yet.
    async fn next(&mut self) -> Result<Option<TaskEvent>, A2aError> {
        if self.pending.is_empty() {
            self.changes.catch_up();
            let store = &self.a2a.store;
            let subject = &self.subject;
            let events = store.task_events(&subject.task, subject.after, self.page);
            let events = events.await?;
            let bytes: usize = events.iter().map(|it| it.body.len()).sum();
            self.page = match bytes > SMALL * events.len() {
                true => 1,
                false => (self.page * 2).min(PAGE),
            };
            self.pending.extend(events);
        }
        Ok(self.pending.pop_front())
    }

    /// Whether nothing comes behind it.
    fn ends(&self, event: &StreamResponse) -> bool {
        let state = match event {
            StreamResponse::Task(task) => task.status.state,
            StreamResponse::StatusUpdate(update) => update.status.state,
            StreamResponse::Message(_) => return true,
            StreamResponse::ArtifactUpdate(_) => return false,
        };
        let asked = match self.dialect {
            Dialect::V01 => state.is_interrupted(),
            Dialect::V1 | Dialect::V03 => state == TaskState::InputRequired,
        };
        state.is_terminal() || (asked && self.subject.until_asked)
    }

    /// An event as it is sent; nothing of one that the dialect does not have.
    fn piece(&mut self, seq: i64, event: &StreamResponse) -> Bytes {
        let json = match self.dialect {
            Dialect::V1 => Some(v1::event(event)),
            Dialect::V03 => Some(v03::event(event)),
            Dialect::V01 => v01::event(event, &self.alias, &mut self.indexes),
        };
        let Some(json) = json else {
            return Bytes::new();
        };
        let data = match &self.wrap {
            Wrap::Bare => json.get().to_owned(),
            Wrap::Call(id) => envelope::result(id, &json),
        };
        Bytes::from(format!("id: {seq}\ndata: {data}\n\n"))
    }

    fn failed(&self, fault: A2aError) -> Bytes {
        if let Some(cause) = &fault.cause {
            let task = self.subject.task.as_str();
            tracing::warn!(task.id = task, cause = &**cause, "a stream broke off");
        }
        failed(&self.wrap, &fault, self.dialect)
    }
}

impl Source for Follow {
    async fn step(mut self) -> (Bytes, Option<Self>) {
        if let Some(first) = self.subject.first.take() {
            let over = self.ends(&first);
            let piece = self.piece(self.subject.after, &first);
            return (piece, (!over).then_some(self));
        }
        loop {
            match self.next().await {
                Ok(Some(event)) => {
                    let read = whole::event(&event);
                    let read = match read {
                        Ok(read) => read,
                        Err(fault) => return (self.failed(fault.into()), None),
                    };
                    self.subject.after = event.seq;
                    let over = self.ends(&read);
                    let piece = self.piece(event.seq, &read);
                    if over || !piece.is_empty() {
                        return (piece, (!over).then_some(self));
                    }
                }
                Ok(None) => {}
                Err(fault) => return (self.failed(fault), None),
            }
            if !self.pending.is_empty() {
                continue;
            }
            let pause = match self.a2a.store.is_shared() {
                true => LOOK,
                false => LONGEST_SILENCE,
            };
            tokio::select! {
                biased;
                () = self.a2a.draining.cancelled() => return (Bytes::new(), None),
                () = self.changes.changed() => {}
                () = self.a2a.clock.wait(pause) => {
                    return (Bytes::from_static(b": keep-alive\n\n"), Some(self));
                }
            }
        }
    }
}

/// An error as the last event of a stream.
pub(super) fn failed(wrap: &Wrap, fault: &A2aError, dialect: Dialect) -> Bytes {
    let data = match wrap {
        Wrap::Bare => fault.body().get().to_owned(),
        Wrap::Call(id) => envelope::failure(Some(id), fault, dialect),
    };
    Bytes::from(format!("data: {data}\n\n"))
}
