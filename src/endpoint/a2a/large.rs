//! Files that are too large to stand in a message: the gateway keeps them, and the agent gets a link.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ring::digest::{SHA256, digest};

use super::dialect::error::{A2aError, Kind};
use super::tools::A2a;
use crate::protocol::{Address, Attachment, IdempotencyKey};
use crate::store::part_id;
use crate::task::{Content, Message, Part};

const UNKNOWN: &str = "application/octet-stream";

/// What of a message is kept apart.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) attachments: Vec<Attachment>,
    /// The names of the contents: they belong to the message once it is stored.
    pub(super) blobs: Vec<String>,
}

impl A2a {
    /// Keeps the large files of a message, and puts links in their place. Nothing belongs to
    /// anybody before the message is stored.
    pub(super) async fn keep_large(
        &self,
        message: &mut Message,
        (sender, key): (&Address, &IdempotencyKey),
    ) -> Result<Kept, A2aError> {
        let mut kept = Kept::default();
        for (at, part) in message.parts.iter_mut().enumerate() {
            let Content::Raw(raw) = &part.content else {
                continue;
            };
            // Of four signs three bytes come.
            if raw.len() / 4 * 3 <= self.rules.inline_size {
                continue;
            }
            let bytes = STANDARD.decode(raw).map_err(|_| {
                let text = format!("message.parts[{at}].raw is no base64");
                A2aError::new(Kind::InvalidParams, text)
            })?;
            let id = part_id(&sender.key(), key, &format!("a2a-{at}"));
            let media_type = part.media_type.as_deref().unwrap_or(UNKNOWN);
            let content = (Bytes::from(bytes), self.clock.now());
            let attachment = self.attachment(&id, part, &content.0);
            self.store.keep_blob(&id, media_type, content).await?;
            part.content = Content::Url(attachment.url.to_string());
            kept.attachments.push(attachment);
            kept.blobs.push(id);
        }
        Ok(kept)
    }

    fn attachment(&self, id: &str, part: &Part, bytes: &[u8]) -> Attachment {
        let hash = digest(&SHA256, bytes);
        let hex: String = hash.as_ref().iter().map(|it| format!("{it:02x}")).collect();
        let name = part.filename.as_deref().filter(|name| !name.is_empty());
        Attachment {
            filename: name.unwrap_or("file").into(),
            content_type: part.media_type.as_deref().unwrap_or(UNKNOWN).into(),
            size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            hash: format!("sha256:{hex}").into(),
            url: format!("{}/v1/blobs/{id}", self.gateway).into(),
            flagged: false,
        }
    }
}
