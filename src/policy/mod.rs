//! The policy: who may send what to whom. AMTP 1.0, section 9.4.
//!
//! An operator writes files of rules. The first rule that matches a message to a recipient decides:
//! it passes, is held, or is refused. What matches but does not have what its rule requires is
//! refused; later rules are not asked. Promises:
//!
//! - [`PolicySet::decide`] is pure and asks few rules, however many there are.
//! - Faults of files are told all at once, each with its place. A set with a fault is never used.
//! - [`Policies`] keeps the last good set while the files have faults. What senders have used of their
//!   limits outlives a reload, and takes bounded memory whoever writes.
//!
//! Patterns other than `*` never cover a sender of ours whose name is reserved, nor the anonymous
//! callers `a2a+*`: a rule for our agents is not one for them.

mod fault;
mod folder;
mod index;
mod limits;
mod lint;
mod pattern;
mod question;
mod reading;
mod rule;
mod running;
mod set;

#[cfg(test)]
mod tests;

pub use fault::PolicyFaults;
pub use folder::{read_files, read_folder};
pub use limits::MOST_SENDERS;
pub use lint::Idle;
pub use pattern::{AddressPattern, Locals, PatternFault};
pub use question::{
    CertificateStanding, Direction, Directions, PayloadStanding, Question, SenderStanding,
    SignatureStanding, Standing,
};
pub use rule::{
    Action, Allowance, Because, Limit, Mismatch, Ordering, Requirement, Rule, RulePlace, RuleRef,
    SignatureMode, Verdict,
};
pub use running::{Broken, Policies, PolicyState};
pub use set::{Explanation, PolicySet};
