//! The admin API: one file a resource.

pub(super) mod agents;
pub(super) mod enrolment;
pub(super) mod form;
