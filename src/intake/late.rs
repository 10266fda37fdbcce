//! Answers to tasks that have ended: they are not stored, and noted.

use std::net::IpAddr;

use serde_json::json;

use super::Intake;
use crate::auth::audit::{Audit, Event, Outcome};
use crate::protocol::{Address, ErrorCode, MessageId};
use crate::store::{Acceptance, Decision, Fate, Plan};
use crate::telemetry::Metrics;

/// What is noted of a message for a task, should the task have ended.
pub struct Late {
    audit: Option<Audit>,
    metrics: Metrics,
    sender: Address,
    message_id: MessageId,
    request_id: String,
    remote: Option<IpAddr>,
    /// The tasks among the recipients, by their places.
    tasks: Vec<(usize, String)>,
}

impl Intake {
    /// What is to be noted of a message; nothing where none of its recipients is a task.
    #[must_use]
    pub fn if_late(&self, acceptance: &Acceptance) -> Option<Box<Late>> {
        let recipients = acceptance.recipients.iter().enumerate();
        let tasks: Vec<(usize, String)> = recipients
            .filter_map(|(place, recipient)| match &recipient.plan {
                Plan::Bridge(advance) => Some((place, advance.task.clone())),
                _ => None,
            })
            .collect();
        let envelope = &acceptance.envelope;
        (!tasks.is_empty()).then(|| {
            Box::new(Late {
                audit: self.audit.clone(),
                metrics: self.metrics.clone(),
                sender: envelope.message.sender().clone(),
                message_id: envelope.message_id.clone(),
                request_id: envelope.request_id.clone(),
                remote: envelope.remote,
                tasks,
            })
        })
    }
}

impl Late {
    /// Notes what came too late.
    pub fn note(&self, decision: &Decision) {
        if let Decision::Taken { fates, .. } = decision {
            self.note_fates(fates);
        }
    }

    pub(super) fn note_fates(&self, fates: &[Fate]) {
        const CODE: ErrorCode = ErrorCode::TaskTerminal;
        for (place, task) in &self.tasks {
            if fates.get(*place) == Some(&Fate::Refused(CODE)) {
                self.note_task(task, CODE);
            }
        }
    }

    fn note_task(&self, task: &str, code: ErrorCode) {
        self.metrics.tasks().late_answer();
        tracing::info!(
            task.id = task,
            message.id = self.message_id.as_str(),
            message.sender = %self.sender,
            request.id = self.request_id,
            error.code = code.as_str(),
            "an answer came after its task had ended"
        );
        let Some(audit) = &self.audit else {
            return;
        };
        let actor = format!("agent:{}", self.sender);
        let mut event = Event::new("task.answer", actor, task, Outcome::Denied);
        event.request_id = Some(self.request_id.clone());
        event.remote = self.remote;
        audit.note(event.with(json!({
            "error_code": code.as_str(),
            "message_id": self.message_id.as_str(),
        })));
    }
}
