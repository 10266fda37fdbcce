//! The AMTP message that goes to the agent for what a client says.

use uuid::Uuid;

use super::calling::Call;
use super::dialect::error::A2aError;
use super::tools::A2a;
use crate::envelope::Principal;
use crate::intake::Asked;
use crate::protocol::{IdempotencyKey, MessageId};
use crate::store::{A2aProfile, Acceptance};
use crate::task::request::{self, Kind, Profile, Request, Route, task_address};
use crate::task::{Message, SendRequest};

/// A message to the agent, judged and ready to be stored.
pub(super) struct Letter {
    pub(super) id: MessageId,
    pub(super) acceptance: Acceptance,
}

impl A2a {
    /// Writes the message for what a client says in a task, and has it judged.
    ///
    /// # Errors
    /// It is not to be stored.
    pub(super) async fn letter(
        &self,
        call: &Call,
        (message, request): (&Message, &SendRequest),
        in_reply_to: Option<&MessageId>,
    ) -> Result<Letter, A2aError> {
        let (agent, now) = (&call.agent, self.clock.now());
        let task = message.task_id.as_deref().unwrap_or_default();
        let of_task = task_address(task, agent.address.domain());
        let (sender, reply_to) = match &call.principal {
            Principal::Agent { address, .. } => (address, Some(&of_task)),
            Principal::Anonymous | Principal::Staff { .. } => (&of_task, None),
        };
        let id: MessageId = self.clock.mint_v7().into();
        let key: IdempotencyKey = Uuid::new_v4().into();
        let mut message = message.clone();
        let kept = self.keep_large(&mut message, (sender, &key)).await?;
        let route = Route {
            sender,
            recipient: &agent.address,
            reply_to,
            message_id: &id,
            idempotency_key: &key,
            in_reply_to,
            now,
        };
        let content = Request {
            kind: Kind::Message,
            dialect: call.dialect,
            message: &message,
            metadata: request.metadata.as_ref(),
            accepted_output_modes: &request.configuration.accepted_output_modes,
            extensions: &call.extensions,
            attachments: &kept.attachments,
            profile: match agent.settings.a2a.profile {
                A2aProfile::Envelope => Profile::Envelope,
                A2aProfile::Plain => Profile::Plain,
            },
        };
        let asked = Asked {
            raw: request::write(&route, &content),
            principal: call.principal.clone(),
            remote: call.remote,
            request_id: call.request_id.clone(),
        };
        let mut acceptance = Box::pin(self.intake.judge_asked(asked)).await?;
        acceptance.blobs = kept.blobs;
        Ok(Letter { id, acceptance })
    }
}
