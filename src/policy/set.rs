//! All rules in their order: which one decides, and why.

use std::path::PathBuf;
use std::sync::Arc;

use super::fault::{FaultList, PolicyFaults};
use super::index::{AddressIndex, Index, Search};
use super::pattern::{AddressPattern, Key};
use super::question::{Directions, Question};
use super::reading;
use super::rule::{Action, Asked, Because, Limit, Mismatch, Rule, RulePlace, RuleRef, Verdict};
use crate::config::DeliveryPath;
use crate::protocol::{Domain, is_reserved};

/// A recipient that only some may write to.
#[derive(Debug)]
pub(super) struct Restricted {
    pub(super) place: Arc<RulePlace>,
    pub(super) recipient: AddressPattern,
    pub(super) senders: Vec<AddressPattern>,
    pub(super) index: AddressIndex,
}

impl Restricted {
    fn lets(&self, asked: &Asked<'_>) -> bool {
        let is_match = |number: u32| {
            let pattern = &self.senders[number as usize];
            (!asked.reserved || *pattern == AddressPattern::Any)
                && pattern.covers_key(&asked.sender)
        };
        let mut search = Search::new(is_match);
        self.index.look(&asked.sender, &mut search);
        search.first().is_some()
    }
}

/// A valid set of rules.
#[derive(Debug)]
pub struct PolicySet {
    local: Box<[Domain]>,
    files: Vec<PathBuf>,
    default: Action,
    restricted: Vec<Restricted>,
    restricted_index: AddressIndex,
    rules: Vec<Rule>,
    index: Index,
    limits: Vec<Arc<Limit>>,
}

/// A verdict, and the rules that were passed over before it.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// What was decided.
    pub verdict: Verdict,
    /// Each earlier rule, with why it does not match.
    pub passed: Vec<(RuleRef, Mismatch)>,
}

impl PolicySet {
    /// What holds without any file: everything passes, and senders that are not verified are flagged.
    #[must_use]
    pub fn open(local: &[Domain]) -> Self {
        Self::compile(local, Vec::new(), Action::Allow, (Vec::new(), Vec::new()))
    }

    /// Reads files, given with their texts, as one ordered list. No files: [`PolicySet::open`].
    ///
    /// # Errors
    /// Every fault of every file, up to a hundred.
    pub fn parse(files: &[(PathBuf, String)], local: &[Domain]) -> Result<Self, PolicyFaults> {
        if files.is_empty() {
            return Ok(Self::open(local));
        }
        let mut faults = FaultList::default();
        let draft = reading::read(files, &mut faults);
        let names = files.iter().map(|(file, _)| file.clone()).collect();
        match (draft, faults.finish()) {
            (Some(draft), None) => Ok(Self::compile(
                local,
                names,
                draft.default,
                (draft.restricted, draft.rules),
            )),
            (_, faults) => Err(faults.unwrap_or_default()),
        }
    }

    fn compile(
        local: &[Domain],
        files: Vec<PathBuf>,
        default: Action,
        (restricted, mut rules): (Vec<Restricted>, Vec<Rule>),
    ) -> Self {
        let mut limits = Vec::new();
        for limit in rules.iter_mut().filter_map(|rule| rule.limit.as_mut()) {
            let mut numbered = Limit::clone(limit);
            numbered.number = limits.len();
            *limit = Arc::new(numbered);
            limits.push(limit.clone());
        }
        let restricted_index = AddressIndex::build(restricted.iter().map(|it| &it.recipient));
        Self {
            local: local.into(),
            files,
            default,
            restricted_index,
            restricted,
            index: Index::build(&rules),
            rules,
            limits,
        }
    }

    /// The files it was read from.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// How many rules it has, restricted recipients counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len() + self.restricted.len()
    }

    /// Whether it has no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a rule lets messages take the immediate path.
    #[must_use]
    pub fn goes_early(&self) -> bool {
        let mut rules = self.rules.iter();
        rules.any(|rule| rule.path == Some(DeliveryPath::Immediate))
    }

    /// What becomes of a message that no rule matches.
    #[must_use]
    pub const fn default_policy(&self) -> Action {
        self.default
    }

    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    pub(super) fn local(&self) -> &[Domain] {
        &self.local
    }

    pub(super) fn limits(&self) -> &[Arc<Limit>] {
        &self.limits
    }

    /// The verdict on a message, limits of senders left out. Pure.
    #[must_use]
    pub fn decide(&self, question: &Question<'_>) -> Verdict {
        let asked = self.asked(question);
        if let Some(refused) = self.restriction(&asked) {
            return refused;
        }
        let is_match = |number: u32| self.rules[number as usize].mismatch(&asked).is_none();
        let keys = (&asked.sender, &asked.recipient);
        let first = self.index.first(keys, question.schema, is_match);
        match first {
            Some(number) => self.rules[number as usize].verdict(question),
            None => self.otherwise(),
        }
    }

    /// The verdict, found by asking every rule in turn.
    #[must_use]
    pub fn explain(&self, question: &Question<'_>) -> Explanation {
        let asked = self.asked(question);
        let mut passed = Vec::new();
        if let Some(verdict) = self.restriction(&asked) {
            return Explanation { verdict, passed };
        }
        for rule in &self.rules {
            match rule.mismatch(&asked) {
                Some(why) => passed.push((RuleRef::Rule(rule.place.clone()), why)),
                None => {
                    let verdict = rule.verdict(question);
                    return Explanation { verdict, passed };
                }
            }
        }
        let verdict = self.otherwise();
        Explanation { verdict, passed }
    }

    fn otherwise(&self) -> Verdict {
        Verdict::plain(RuleRef::Default, self.default, Because::NoRule)
    }

    fn asked<'a>(&self, question: &'a Question<'a>) -> Asked<'a> {
        let sender = question.sender;
        Asked {
            question,
            sender: Key::of(sender),
            recipient: Key::of(question.recipient),
            reserved: is_reserved(sender.local()) && self.local.contains(sender.domain()),
        }
    }

    /// The refusal by the first restricted recipient that does not let this sender in.
    fn restriction(&self, asked: &Asked<'_>) -> Option<Verdict> {
        // Who may write to a recipient says nothing of who may read what others write to it.
        let writes = asked.question.directions.meets(Directions::MESSAGES);
        if self.restricted.is_empty() || !writes {
            return None;
        }
        let refuses = |number: u32| {
            let restricted = &self.restricted[number as usize];
            restricted.recipient.covers_key(&asked.recipient) && !restricted.lets(asked)
        };
        let mut search = Search::new(refuses);
        self.restricted_index.look(&asked.recipient, &mut search);
        let place = self.restricted[search.first()? as usize].place.clone();
        let rule = RuleRef::Restricted(place);
        Some(Verdict::plain(rule, Action::Deny, Because::Restricted))
    }
}
