//! Rules that never decide: each is told with the rules that stand before it.

use super::pattern::{AddressPattern, Locals};
use super::question::{Direction, Directions};
use super::rule::{Rule, RuleRef};
use super::set::PolicySet;
use crate::protocol::schema_id::glob;
use crate::protocol::{Domain, SchemaPattern, is_reserved};

/// Why a rule never decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Idle {
    /// One earlier rule matches all that this one matches.
    Shadowed(RuleRef),
    /// Earlier rules together do, each for some directions.
    Covered(Vec<RuleRef>),
    /// No message matches it.
    Unreachable(&'static str),
}

impl Idle {
    /// What to tell, and what to do.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Shadowed(by) => {
                format!(
                    "is shadowed by the {by}, which matches all that this one does; move it up or remove it"
                )
            }
            Self::Covered(by) => {
                let by: Vec<String> = by.iter().map(ToString::to_string).collect();
                let by = by.join(" and the ");
                format!(
                    "is unreachable: the {by} together match all that this one does; move it up or remove it"
                )
            }
            Self::Unreachable(why) => format!("is unreachable: {why}"),
        }
    }
}

impl PolicySet {
    /// Every rule that never decides. A rule may be idle in ways this does not see, but no rule it
    /// tells ever decides.
    #[must_use]
    pub fn idle_rules(&self) -> Vec<(RuleRef, Idle)> {
        let rules = self.rules();
        let look = |(number, rule): (usize, &Rule)| {
            let idle = unreachable(rule, self.local())
                .map(Idle::Unreachable)
                .or_else(|| covered(rule, &rules[..number]))?;
            Some((RuleRef::Rule(rule.place.clone()), idle))
        };
        rules.iter().enumerate().filter_map(look).collect()
    }
}

/// The earlier rules that leave nothing for this one.
fn covered(rule: &Rule, earlier: &[Rule]) -> Option<Idle> {
    let mut left = rule.directions;
    let mut by: Vec<&Rule> = Vec::new();
    for other in earlier {
        if other.directions.covers(rule.directions) && covers(other, rule) {
            return Some(Idle::Shadowed(RuleRef::Rule(other.place.clone())));
        }
        if other.directions.meets(left) && covers(other, rule) {
            left = left.without(other.directions);
            by.push(other);
        }
    }
    // An agent's mail to others goes by two directions; where a part is left, a message may go by it.
    if left != Directions::NONE {
        return None;
    }
    let places = by.into_iter().map(|it| RuleRef::Rule(it.place.clone()));
    Some(Idle::Covered(places.collect()))
}

/// Whether a rule matches all that another does, directions left out.
fn covers(one: &Rule, other: &Rule) -> bool {
    one.sender.covers(&other.sender)
        && one.recipient.covers(&other.recipient)
        && covers_schemas(&one.schemas, &other.schemas)
}

fn covers_schemas(ours: &[SchemaPattern], theirs: &[SchemaPattern]) -> bool {
    // A `*` of the other is a sign that only a `*` covers. No schemas at all is any and none.
    let covered = |their: &SchemaPattern| {
        let text = their.as_str().as_bytes();
        ours.iter().any(|our| glob(our.as_str().as_bytes(), text))
    };
    ours.is_empty() || !theirs.is_empty() && theirs.iter().all(covered)
}

/// Why no message ever matches.
fn unreachable(rule: &Rule, local: &[Domain]) -> Option<&'static str> {
    if local.is_empty() {
        return None;
    }
    let ours = |pattern: &AddressPattern| pattern.domain().map(|domain| local.contains(domain));
    if let AddressPattern::At(Locals::One(name), domain) = &rule.sender
        && local.contains(domain)
        && is_reserved(name)
    {
        return Some("a reserved name of our own is covered by `*` only, never by a pattern");
    }
    let only = |directions: Directions| directions.covers(rule.directions);
    let from_us = (Direction::Submission | Direction::Outbound)
        | (Direction::BridgeOut | Direction::Broadcast);
    let to_us: Directions = Direction::Inbound | Direction::BridgeIn;
    match (ours(&rule.sender), ours(&rule.recipient)) {
        (Some(true), _) if only(to_us) => {
            Some("its sender is ours, but what comes in has foreign senders")
        }
        (_, Some(false)) if only(to_us) => {
            Some("its recipient is foreign, but what comes in is for ours")
        }
        (Some(false), _) if only(from_us) => {
            Some("its sender is foreign, but only our own mail goes out")
        }
        (Some(false), Some(false)) => Some("it is from others to others, which is never passed on"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// What is told of the last rule.
    fn told(rules: &[&str]) -> String {
        let rules: String = rules.iter().map(|rule| format!("- {rule}\n")).collect();
        let text = format!("version: \"1.0\"\ndefault_policy: deny\nrules:\n{rules}");
        let local = [Domain::parse("example.com").unwrap()];
        let set = PolicySet::parse(&[(PathBuf::from("p"), text)], &local).unwrap();
        let last = set.rules().last().unwrap().place.clone();
        let idle = set.idle_rules();
        let found = idle.iter().find(|(rule, _)| rule.place() == Some(&last));
        found.map(|(_, idle)| idle.text()).unwrap_or_default()
    }

    /// Rules, and what is told of the last.
    const ROWS: &[(&[&str], &str)] = &[
        (
            &[
                "{action: allow, name: all}",
                "{sender_pattern: a@b.com, action: deny}",
            ],
            "shadowed by the rule \"all\" (p:4)",
        ),
        (
            &[
                "{sender_pattern: \"*.com\", action: deny}",
                "{sender_pattern: \"*@b.com\", schemas: [x], action: allow}",
            ],
            "shadowed by the rule (p:4)",
        ),
        (
            &[
                "{schemas: [\"x.*\"], action: deny}",
                "{schemas: [x.y, \"x.z*\"], action: allow}",
            ],
            "shadowed by",
        ),
        (
            &[
                "{schemas: [\"x.*\"], action: deny}",
                "{schemas: [x.y, \"z*\"], action: allow}",
            ],
            "",
        ),
        (&["{schemas: [\"*\"], action: deny}", "{action: allow}"], ""),
        (
            &[
                "{direction: inbound, action: deny}",
                "{direction: [inbound, bridge-in], action: allow}",
            ],
            "",
        ),
        (
            &[
                "{direction: inbound, name: i, action: deny}",
                "{direction: bridge-in, name: b, action: deny}",
                "{direction: [inbound, bridge-in], sender_pattern: \"*@b.com\", action: allow}",
            ],
            "unreachable: the rule \"i\" (p:4) and the rule \"b\" (p:5) together",
        ),
        (
            &[
                "{sender_pattern: a@b.com, require: [signed], action: allow}",
                "{sender_pattern: a@b.com, action: allow}",
            ],
            "shadowed by",
        ),
        (
            &[
                "{sender_pattern: a@b.com, action: allow}",
                "{sender_pattern: \"*@b.com\", action: allow}",
            ],
            "",
        ),
        (
            &["{sender_pattern: workflow@example.com, action: allow}"],
            "reserved name",
        ),
        (
            &["{sender_pattern: \"*@example.com\", direction: inbound, action: allow}"],
            "its sender is ours",
        ),
        (
            &["{recipient_pattern: \"*@b.com\", direction: inbound, action: allow}"],
            "its recipient is foreign",
        ),
        (
            &["{sender_pattern: \"*@b.com\", direction: outbound, action: allow}"],
            "its sender is foreign",
        ),
        (
            &["{sender_pattern: a@b.com, recipient_pattern: b@b.com, action: allow}"],
            "from others to others",
        ),
        (
            &["{sender_pattern: a@b.com, recipient_pattern: b@example.com, action: allow}"],
            "",
        ),
    ];

    #[test]
    fn a_rule_is_told_with_what_shadows_it() {
        for (rules, part) in ROWS {
            let told = told(rules);
            assert!(
                told.contains(part) && told.is_empty() == part.is_empty(),
                "{rules:?}: {told}"
            );
        }
    }
}
