//! How several agents work on one message: in parallel, in sequence, or under conditions. AMTP 1.0, section 7.
//!
//! Only a local sender's coordination is checked and carried out; a foreign one is plain content.
//!
//! - parallel: all recipients get the message; when the required ones have answered it is complete.
//! - sequential: each of `sequence` gets it after the one before has answered.
//! - conditional: the recipients get it; each [`Condition`] over their answers decides whether
//!   `then` or `else` get it.

mod condition;

use std::time::Duration;

use super::Address;
use super::json::{Member, items, scan_object};
use super::message::{Faults, Limits, Violation, is_absent};

pub use condition::{Condition, ConditionFault};

/// More conditions than these are refused.
const MOST_CONDITIONS: usize = 32;

/// A checked coordination.
#[derive(Debug, Clone, PartialEq)]
pub enum Coordination {
    /// All at once.
    Parallel(Parallel),
    /// One after the other.
    Sequential(Sequential),
    /// First the recipients, then those the answers point to.
    Conditional(Conditional),
}

/// All recipients at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Parallel {
    /// How long to wait for the answers.
    pub timeout: Duration,
    /// Whose answers make it complete: as written, else all recipients that are not optional.
    pub required: Vec<Address>,
    /// Whose answers are taken until then.
    pub optional: Vec<Address>,
}

/// One after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequential {
    /// How long to wait for all the answers together.
    pub timeout: Duration,
    /// Who gets the message, in order, each once.
    pub sequence: Vec<Address>,
    /// Whether a failed participant ends it.
    pub stop_on_failure: bool,
}

/// First the recipients, then those the answers point to.
#[derive(Debug, Clone, PartialEq)]
pub struct Conditional {
    /// How long to wait for all the answers together.
    pub timeout: Duration,
    /// At least one.
    pub branches: Vec<Branch>,
}

/// One condition and who comes next.
#[derive(Debug, Clone, PartialEq)]
pub struct Branch {
    /// The member `if`.
    pub condition: Condition,
    /// Who gets the message when it holds; at least one.
    pub then: Vec<Address>,
    /// Who gets it when it does not: the member `else`.
    pub otherwise: Vec<Address>,
}

impl Coordination {
    /// Whether the answer of this recipient is needed for it to be complete.
    #[must_use]
    pub fn requires(&self, recipient: &Address) -> bool {
        match self {
            Self::Parallel(parallel) => parallel.required.contains(recipient),
            Self::Sequential(_) | Self::Conditional(_) => true,
        }
    }

    /// Checks the member `coordination` of a message to these recipients.
    ///
    /// # Errors
    /// Every field that breaks its rule.
    pub fn parse(
        value: &str,
        recipients: &[Address],
        limits: &Limits,
    ) -> Result<Self, Vec<Violation>> {
        let mut reader = Reader {
            value,
            members: Vec::new(),
            recipients,
            most: limits.recipients,
            faults: Faults::default(),
        };
        match reader.coordination() {
            Some(coordination) if reader.faults.is_empty() => Ok(coordination),
            _ => Err(reader.faults.into_violations()),
        }
    }

    /// The word for it on the wire.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Parallel(_) => "parallel",
            Self::Sequential(_) => "sequential",
            Self::Conditional(_) => "conditional",
        }
    }

    /// How long it may take.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        match self {
            Self::Parallel(parallel) => parallel.timeout,
            Self::Sequential(sequential) => sequential.timeout,
            Self::Conditional(conditional) => conditional.timeout,
        }
    }
}

struct Reader<'a> {
    value: &'a str,
    members: Vec<Member<'a>>,
    recipients: &'a [Address],
    /// How many addresses one list may hold.
    most: usize,
    faults: Faults,
}

impl<'a> Reader<'a> {
    /// `None` or a fault noted: not valid.
    fn coordination(&mut self) -> Option<Coordination> {
        let Ok(members) = scan_object(self.value.as_bytes()) else {
            self.faults.add("coordination", "must be an object");
            return None;
        };
        self.members = members;
        let timeout = self.timeout();
        let kind = self.find("type").unwrap_or("\"\"");
        let kind = self.faults.string("coordination.type", kind)?;
        match kind.as_ref() {
            "parallel" => self.parallel(timeout?).map(Coordination::Parallel),
            "sequential" => self.sequential(timeout?).map(Coordination::Sequential),
            "conditional" => self.conditional(timeout?).map(Coordination::Conditional),
            _ => {
                let rule = "must be parallel, sequential or conditional";
                self.faults.add("coordination.type", rule);
                None
            }
        }
    }

    fn timeout(&mut self) -> Option<Duration> {
        let seconds = self.find("timeout").and_then(|value| value.parse().ok());
        let Some(seconds @ 1..) = seconds else {
            let rule = "must be a whole number of seconds above 0";
            self.faults.add("coordination.timeout", rule);
            return None;
        };
        Some(Duration::from_secs(u32::into(seconds)))
    }

    fn parallel(&mut self, timeout: Duration) -> Option<Parallel> {
        let required = self.responders("required_responses");
        let mut optional = self.responders("optional_responses");
        let required = if required.is_empty() {
            let others = self.recipients.iter();
            let others = others.filter(|each| !optional.contains(each));
            others.cloned().collect()
        } else {
            required
        };
        let required = if required.is_empty() {
            self.recipients.to_vec()
        } else {
            required
        };
        optional.retain(|each| !required.contains(each));
        Some(Parallel {
            timeout,
            required,
            optional,
        })
    }

    /// A list of recipients whose answers are wanted.
    fn responders(&mut self, name: &str) -> Vec<Address> {
        let field = format!("coordination.{name}");
        let responders = match self.find(name) {
            Some(value) => self.addresses(&field, value),
            None => Vec::new(),
        };
        for (index, address) in responders.iter().enumerate() {
            if !self.recipients.contains(address) {
                let field = format_args!("{field}[{index}]");
                self.faults.add(field, "must be a recipient of the message");
            }
        }
        responders
    }

    fn sequential(&mut self, timeout: Duration) -> Option<Sequential> {
        let value = self.find("sequence").unwrap_or("[]");
        let sequence = self.addresses("coordination.sequence", value);
        if sequence.is_empty() {
            let rule = "must name at least one address";
            self.faults.add("coordination.sequence", rule);
        }
        let stop_on_failure = match self.find("stop_on_failure") {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => {
                let rule = "must be true or false";
                self.faults.add("coordination.stop_on_failure", rule);
                return None;
            }
        };
        Some(Sequential {
            timeout,
            sequence,
            stop_on_failure,
        })
    }

    fn conditional(&mut self, timeout: Duration) -> Option<Conditional> {
        let field = "coordination.conditions";
        let value = self.find("conditions").unwrap_or("[]");
        let Some(items) = items(value) else {
            self.faults.add(field, "must be an array");
            return None;
        };
        let items: Vec<&str> = items.take(MOST_CONDITIONS + 1).collect();
        if !(1..=MOST_CONDITIONS).contains(&items.len()) {
            let rule = format_args!("must hold 1 to {MOST_CONDITIONS} conditions");
            self.faults.add(field, rule);
            return None;
        }
        let mut branches = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            branches.push(self.branch(item, index));
        }
        let branches: Option<Vec<Branch>> = branches.into_iter().collect();
        let branches = branches?;
        self.check_participants(&branches);
        Some(Conditional { timeout, branches })
    }

    fn branch(&mut self, value: &str, index: usize) -> Option<Branch> {
        let field = format!("coordination.conditions[{index}]");
        let Ok(members) = scan_object(value.as_bytes()) else {
            self.faults.add(field, "must be an object");
            return None;
        };
        let find = |name: &str| find(&members, value, name);
        let text = find("if").unwrap_or("\"\"");
        let condition_field = format_args!("{field}.if");
        let condition = self.faults.parsed(condition_field, text, Condition::parse);
        let then = self.addresses(&format!("{field}.then"), find("then").unwrap_or("[]"));
        let otherwise = self.addresses(&format!("{field}.else"), find("else").unwrap_or("[]"));
        if then.is_empty() {
            let rule = "must name at least one address";
            self.faults.add(format_args!("{field}.then"), rule);
        }
        Some(Branch {
            condition: condition?,
            then,
            otherwise,
        })
    }

    /// A condition can only ask about those that may ever get the message.
    fn check_participants(&mut self, branches: &[Branch]) {
        let targets = branches
            .iter()
            .flat_map(|branch| branch.then.iter().chain(&branch.otherwise));
        let participants: std::collections::HashSet<&Address> =
            self.recipients.iter().chain(targets).collect();
        for (index, branch) in branches.iter().enumerate() {
            for address in branch.condition.addresses() {
                if !participants.contains(address) {
                    let field = format_args!("coordination.conditions[{index}].if");
                    let rule = format_args!("{address} takes no part in the workflow");
                    self.faults.add(field, rule);
                }
            }
        }
    }

    /// A list of addresses, each once.
    fn addresses(&mut self, field: &str, value: &str) -> Vec<Address> {
        let Some(items) = items(value) else {
            self.faults.add(field, "must be an array of addresses");
            return Vec::new();
        };
        let items: Vec<&str> = items.take(self.most.saturating_add(1)).collect();
        if items.len() > self.most {
            let rule = format_args!("must name no more than {} addresses", self.most);
            self.faults.add(field, rule);
            return Vec::new();
        }
        let mut addresses = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let field = format_args!("{field}[{index}]");
            let Some(address) = self.faults.parsed(field, item, Address::parse) else {
                continue;
            };
            if addresses.contains(&address) {
                self.faults.add(field, "stands there twice");
            }
            addresses.push(address);
        }
        addresses
    }

    fn find(&self, name: &str) -> Option<&'a str> {
        find(&self.members, self.value, name)
    }
}

/// A member of an object; `None` if absent, `null` or `""`.
fn find<'a>(members: &[Member<'_>], object: &'a str, wanted: &str) -> Option<&'a str> {
    let (_, place) = members.iter().find(|(name, _)| name == wanted)?;
    Some(&object[place.clone()]).filter(|value| !is_absent(value))
}

#[cfg(test)]
mod tests;
