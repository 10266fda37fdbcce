//! Pages of a list of tasks: what is asked for, and the tokens that say where a page begins.
//!
//! A token names the list it is of, by a hash of who asks for what: in another list it is no good.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::json::{Fault, Object};
use super::read;
use super::state::TaskState;
use crate::protocol::Timestamp;
use crate::store::{TaskCursor, TaskQuery, id_hash};

/// Tasks of a page where the client does not say.
pub const USUAL_PAGE: u32 = 50;
/// The most tasks of a page.
pub const LARGEST_PAGE: u32 = 100;

const VERSION: u8 = 1;

/// What a client asks to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListRequest {
    /// The agent, where the URL does not name it.
    pub tenant: Option<String>,
    /// Only of this conversation.
    pub context_id: Option<String>,
    /// Only in this state.
    pub status: Option<TaskState>,
    /// Only those whose status is not older.
    pub since: Option<Timestamp>,
    /// Tasks of a page.
    pub page_size: u32,
    /// Where the page begins; empty for the first.
    pub page_token: String,
    /// How many messages of the history the client wants.
    pub history_length: Option<u32>,
    /// Whether it wants results.
    pub include_artifacts: bool,
}

impl ListRequest {
    /// Reads the parameters.
    ///
    /// # Errors
    /// Something is not what it must be.
    pub fn read(object: &Object<'_>) -> Result<Self, Fault> {
        let status = object.get("status");
        let since = object.get("statusTimestampAfter");
        Ok(Self {
            tenant: object.name("tenant")?,
            context_id: object.name("contextId")?,
            status: status.map_or(Ok(None), |it| TaskState::read(&it))?,
            since: since.map(|it| it.moment()).transpose()?,
            page_size: page_size(object)?,
            page_token: object.name("pageToken")?.unwrap_or_default(),
            history_length: read::count(object, "historyLength")?,
            include_artifacts: read::flag(object, "includeArtifacts")?,
        })
    }

    /// The question to the store, for the tasks of an owner with an agent.
    ///
    /// # Errors
    /// The token is none of this list.
    pub fn query(&self, owner: &str, agent: i64) -> Result<TaskQuery, Fault> {
        let mut query = TaskQuery {
            owner: owner.to_owned(),
            agent,
            context: self.context_id.clone(),
            state: self.status.map(TaskState::code),
            since: self.since,
            before: None,
            limit: self.page_size,
        };
        if !self.page_token.is_empty() {
            let cursor = cursor(&query, &self.page_token);
            let unknown = || Fault::new("pageToken", "is no token of this list");
            query.before = Some(cursor.ok_or_else(unknown)?);
        }
        Ok(query)
    }
}

/// How many tasks a page is to have.
///
/// # Errors
/// It is no number from 1 to [`LARGEST_PAGE`].
pub fn page_size(object: &Object<'_>) -> Result<u32, Fault> {
    let Some(place) = object.get("pageSize") else {
        return Ok(USUAL_PAGE);
    };
    let size = u32::try_from(place.int()?).ok();
    size.filter(|size| (1..=LARGEST_PAGE).contains(size))
        .ok_or_else(|| place.fault(format_args!("must be from 1 to {LARGEST_PAGE}")))
}

/// The token of the page that begins behind a task.
#[must_use]
pub fn token(query: &TaskQuery, cursor: &TaskCursor) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&list(query).to_be_bytes());
    bytes.extend_from_slice(&cursor.at.as_millis().to_be_bytes());
    bytes.extend_from_slice(cursor.id.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn cursor(query: &TaskQuery, token: &str) -> Option<TaskCursor> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (version, rest) = bytes.split_first()?;
    let (hash, rest) = rest.split_at_checked(8)?;
    let (at, id) = rest.split_at_checked(8)?;
    if *version != VERSION || hash != list(query).to_be_bytes() {
        return None;
    }
    Some(TaskCursor {
        at: Timestamp::from_millis(i64::from_be_bytes(at.try_into().ok()?)),
        id: String::from_utf8(id.to_vec()).ok()?,
    })
}

/// Which list: who asks for what, without where the page begins and how long it is.
fn list(query: &TaskQuery) -> i64 {
    let TaskQuery {
        owner,
        agent,
        context,
        state,
        since,
        ..
    } = query;
    id_hash(&format!(
        "{owner}\n{agent}\n{context:?}\n{state:?}\n{since:?}"
    ))
}
