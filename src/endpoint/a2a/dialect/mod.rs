//! One core, three dialects: requests are read into the words of A2A 1.0, and answers are written in
//! the dialect of the request.
//!
//! - [`method`] tells by the name of a JSON-RPC method which operation is meant and who speaks so.
//! - [`version`] says whether a client may speak so, by the version and the extensions it names.
//! - [`v1`], [`v03`] and [`v01`] read parameters and write results, events and push notifications.
//! - [`error`] writes what is wrong in each dialect, for JSON-RPC and for HTTP+JSON.

pub(super) mod envelope;
pub(super) mod error;
pub(super) mod method;
mod older;
pub(super) mod query;
#[cfg(test)]
mod tests;
pub(super) mod v01;
pub(super) mod v03;
pub(super) mod v1;
pub(super) mod version;

use crate::task::page::ListRequest;
use crate::task::{Fault, Json, Message, Object, PushConfig, SendRequest, Task};

/// An operation with its parameters, in the words of 1.0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    /// A message; the answer is the task, or a message.
    Send(Sending),
    /// A message; the answer is a stream.
    Stream(Sending),
    /// A task as it is.
    Get(TaskRequest),
    /// Tasks.
    List(ListRequest),
    /// The task is not wanted any more.
    Cancel(TaskRequest),
    /// What happens to a task from now on.
    Subscribe(TaskRequest),
    /// Where changes are posted.
    PutPush(PushConfig),
    /// One of these places.
    FindPush(PushRequest),
    /// All of them.
    ListPushes(PushPage),
    /// One of them is taken away.
    DeletePush(PushRequest),
    /// The card for those who are known.
    Card(Option<String>),
}

/// A message for an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sending {
    pub(super) request: SendRequest,
    /// The name that a client of 0.1 gives the task.
    pub(super) alias: Option<String>,
}

/// A task that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TaskRequest {
    pub(super) tenant: Option<String>,
    pub(super) id: String,
    pub(super) history_length: Option<u32>,
}

/// A place where changes are posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PushRequest {
    pub(super) tenant: Option<String>,
    pub(super) task: String,
    /// Nothing: the first one.
    pub(super) id: Option<String>,
}

/// A list of such places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PushPage {
    pub(super) tenant: Option<String>,
    pub(super) task: String,
    pub(super) page_size: u32,
    /// The name of the last place of the page before; empty for the first page.
    pub(super) page_token: String,
}

/// What an operation answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// A message made or continued this task.
    Sent(Task),
    /// A message was answered directly.
    Said(Message),
    /// The task that was asked for.
    Task(Task),
    /// Tasks.
    Tasks(TaskList),
    /// A place where changes are posted.
    Push(PushConfig),
    /// Such places, and the token of the next page.
    Pushes(Vec<PushConfig>, String),
    /// It is gone.
    Deleted,
    /// A card.
    Card(Json),
}

/// A page of tasks.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TaskList {
    pub(super) tasks: Vec<Task>,
    pub(super) next_page_token: String,
    pub(super) page_size: u32,
    pub(super) total_size: u64,
}

/// The number of messages of the history that a client wants.
fn history_length(object: &Object<'_>) -> Result<Option<u32>, Fault> {
    crate::task::read::count(object, "historyLength")
}
