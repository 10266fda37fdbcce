//! Where changes of a task are posted: as clients set, read and delete it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::calling::Call;
use super::dialect::error::{A2aError, Kind};
use super::dialect::{Answer, PushPage, PushRequest};
use super::sending::no_pushes;
use super::tools::A2a;
use crate::store::{MOST_PUSHES, Sealer, StoredPush, id_hash};
use crate::task::{Fault, PushConfig, push};

impl A2a {
    fn posting(&self) -> Result<&Sealer, A2aError> {
        let sealer = self.sealer.as_ref().filter(|_| self.posts());
        sealer.ok_or_else(no_pushes)
    }

    /// Stores a place; one of the same name is replaced. Also for a task that has ended.
    pub(super) async fn put_place(
        &self,
        call: &Call,
        config: &PushConfig,
    ) -> Result<Answer, A2aError> {
        let sealer = self.posting()?;
        let id = config.task_id.as_deref().unwrap_or_default();
        let row = self.task(call, id).await?;
        let new = push::stored(config, &row.id, (call.dialect, self.clock.now()), sealer);
        let answer = PushConfig {
            tenant: config.tenant.clone(),
            id: Some(new.id.clone()),
            task_id: Some(row.id.clone()),
            ..config.clone()
        };
        self.put_push(&row.id, new).await?;
        Ok(Answer::Push(answer))
    }

    /// A place by its name; the first one where none is named.
    pub(super) async fn find_place(
        &self,
        call: &Call,
        asked: &PushRequest,
    ) -> Result<Answer, A2aError> {
        let sealer = self.posting()?;
        let row = self.task(call, &asked.task).await?;
        let all = self.places(&row.id, "").await?;
        let found = all.iter().find(|it| match &asked.id {
            Some(id) => it.id == *id,
            None => true,
        });
        let Some(found) = found else {
            let text = "there is no such push notification configuration";
            return Err(A2aError::new(Kind::TaskNotFound, text));
        };
        Ok(Answer::Push(push::opened(found, sealer)?))
    }

    async fn places(&self, task: &str, after: &str) -> Result<Vec<StoredPush>, A2aError> {
        let most = u32::try_from(MOST_PUSHES).unwrap_or(u32::MAX);
        Ok(self.store.list_pushes(task, after, most).await?)
    }

    /// A page of places, in the order of their names.
    pub(super) async fn list_places(
        &self,
        call: &Call,
        asked: &PushPage,
    ) -> Result<Answer, A2aError> {
        let sealer = self.posting()?;
        let row = self.task(call, &asked.task).await?;
        let after = match asked.page_token.as_str() {
            "" => String::new(),
            token => behind(token, &row.id)
                .ok_or_else(|| Fault::new("pageToken", "is no token of this list"))?,
        };
        let mut found = self.places(&row.id, &after).await?;
        let size = usize::try_from(asked.page_size).unwrap_or(usize::MAX);
        let more = found.len() > size;
        found.truncate(size);
        let next = found.last().filter(|_| more);
        let next = next.map_or_else(String::new, |last| token(&row.id, &last.id));
        let opened = found.iter().map(|it| push::opened(it, sealer));
        Ok(Answer::Pushes(opened.collect::<Result<_, _>>()?, next))
    }

    /// Takes a place away; one that is not there is gone already.
    pub(super) async fn delete_place(
        &self,
        call: &Call,
        asked: &PushRequest,
    ) -> Result<Answer, A2aError> {
        self.posting()?;
        let row = self.task(call, &asked.task).await?;
        if let Some(id) = &asked.id {
            self.store.delete_push(row.id, id.clone()).await?;
        }
        Ok(Answer::Deleted)
    }
}

/// The token of the page behind a name, which is good for the list of this task only.
fn token(task: &str, last: &str) -> String {
    let mut bytes = id_hash(task).to_be_bytes().to_vec();
    bytes.extend_from_slice(last.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn behind(token: &str, task: &str) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (hash, last) = bytes.split_at_checked(8)?;
    let fits = hash == id_hash(task).to_be_bytes();
    String::from_utf8(last.to_vec()).ok().filter(|_| fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_own_list() {
        let token = token("t-1", "name");
        assert_eq!(behind(&token, "t-1").as_deref(), Some("name"));
        assert_eq!(behind(&token, "t-2"), None);
        for wrong in ["", "x", "%%", "AAAA"] {
            assert_eq!(behind(wrong, "t-1"), None, "{wrong}");
        }
    }
}
