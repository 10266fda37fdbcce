//! The admin API: one file a resource.

pub(super) mod agents;
pub(super) mod audit;
pub(super) mod dead_letters;
pub(super) mod deliveries;
pub(super) mod enrolment;
pub(crate) mod form;
pub(super) mod keys;
pub(super) mod lag;
mod members;
pub(super) mod policies;
pub(super) mod schemas;
pub(super) mod sessions;
pub(super) mod staff;
mod steps;
pub(super) mod suppressions;
pub(super) mod workers;
