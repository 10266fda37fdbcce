//! What is wrong with policy files: every fault at once, each with its place and what to do.

use crate::config::{Fault, Place};

/// So many faults are told; of what comes after them only the number is.
const MOST_TOLD: usize = 100;

/// Every fault of a set of policy files, in the order of the files. Never empty where it is an error.
#[derive(Debug, Clone, PartialEq, Eq, Default, thiserror::Error)]
#[error("{}", lines(self))]
pub struct PolicyFaults {
    faults: Vec<Fault>,
    untold: usize,
}

impl PolicyFaults {
    /// The faults, at most a hundred.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// How many more there are.
    #[must_use]
    pub const fn untold(&self) -> usize {
        self.untold
    }
}

fn lines(faults: &PolicyFaults) -> String {
    let mut lines: Vec<String> = faults.faults.iter().map(ToString::to_string).collect();
    if faults.untold > 0 {
        lines.push(format!("and {} more faults", faults.untold));
    }
    lines.join("\n")
}

impl From<Fault> for PolicyFaults {
    fn from(fault: Fault) -> Self {
        Self {
            faults: vec![fault],
            untold: 0,
        }
    }
}

/// The faults found so far.
#[derive(Debug, Default)]
pub(super) struct FaultList(PolicyFaults);

impl FaultList {
    /// Notes a fault; its place is looked for only if it will be told.
    pub(super) fn add(&mut self, place: impl FnOnce() -> Place, key: &str, text: String) {
        if self.0.faults.len() == MOST_TOLD {
            self.0.untold += 1;
            return;
        }
        let key = key.to_owned();
        self.0.faults.push(Fault {
            place: place(),
            key,
            text,
        });
    }

    pub(super) fn finish(mut self) -> Option<PolicyFaults> {
        // By file and line: a later look at a file may find faults of earlier lines.
        self.0.faults.sort();
        (!self.0.faults.is_empty()).then_some(self.0)
    }
}
