//! The admin API: one file a resource.

pub(super) mod agents;
pub(super) mod dead_letters;
pub(super) mod deliveries;
pub(super) mod enrolment;
pub(super) mod form;
pub(super) mod schemas;
mod steps;
pub(super) mod workers;
