//! What a door may have beside its store: who is believed, what is counted, asked and written down.

use std::sync::Arc;

use super::{Express, Intake, MailDoor};
use crate::admission::Admission;
use crate::auth::audit::Audit;
use crate::auth::{SenderCheck, SenderRates};
use crate::config::DeliveryPath;
use crate::policy::Policies;
use crate::schema::Schemas;

impl Intake {
    /// Lets foreign senders be believed that `senders` vouches for.
    #[must_use]
    pub fn with_sender_check(mut self, senders: SenderCheck) -> Self {
        self.senders = Some(senders);
        self
    }

    /// Asks these policies and schemas; without a rule for it, a message takes `path`.
    #[must_use]
    pub fn with_rules(mut self, policies: Policies, schemas: Schemas, path: DeliveryPath) -> Self {
        self.policies = Some(policies);
        self.schemas = Some(schemas);
        self.path = path;
        self
    }

    /// Says in receipts what cannot be signed.
    #[must_use]
    pub fn that_signs(mut self) -> Self {
        self.signs = true;
        self
    }

    /// Writes down what is doubtful.
    #[must_use]
    pub fn with_audit(mut self, audit: Audit) -> Self {
        self.audit = Some(audit);
        self
    }

    /// Counts what each sender hands in.
    #[must_use]
    pub fn with_rates(mut self, rates: SenderRates) -> Self {
        self.rates = Some(rates);
        self
    }

    /// Offers submissions to the queue before they are on disk.
    #[must_use]
    pub fn with_express(mut self, express: Express) -> Self {
        self.express = Some(express);
        self
    }

    /// Takes no more than `admission` lets in.
    #[must_use]
    pub fn with_admission(mut self, admission: Admission) -> Self {
        self.admission = Some(admission);
        self
    }

    /// Takes mail too.
    #[must_use]
    pub fn with_mail(mut self, door: MailDoor) -> Self {
        self.mail = Some(Arc::new(door));
        self
    }
}
