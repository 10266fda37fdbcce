//! Reading one rule.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use super::super::pattern::AddressPattern;
use super::super::question::Directions;
use super::super::rule::{Action, Limit, Rule, RulePlace};
use super::values::{ACTIONS, ORDERINGS, PATHS, PRIORITIES, SIGNATURE_MODES, word};
use super::{Keys, Reading, first_of, join};
use crate::config::{Node, Shape};

const KNOWN: [&str; 15] = [
    "name",
    "reason",
    "sender_pattern",
    "recipient_pattern",
    "schemas",
    "direction",
    "action",
    "require",
    "max_size",
    "rate_limit",
    "quota",
    "path",
    "priority",
    "ordering",
    "signature_policy",
];

/// The keys that mean nothing where nothing passes.
const OF_WHAT_PASSES: std::ops::RangeFrom<usize> = 7..;

/// A day's quota: messages, and KiB.
type Quota = (Option<NonZeroU32>, Option<NonZeroU32>);

/// Where each name stands.
pub(super) type Names = HashMap<String, (PathBuf, usize)>;

impl Reading<'_> {
    /// Reads a rule, and looks at every key of it; `None` after a fault.
    pub(super) fn rule(&mut self, item: &Node, path: &str, names: &mut Names) -> Option<Rule> {
        let keys = self.keys(item, path, &KNOWN)?;
        let (k, p) = (&keys, path);
        let place = self.place(item, k, p);
        let place = place.filter(|place| self.is_new(place, k, p, names));
        let sender = self.value(k, p, "sender_pattern", Self::pattern);
        let recipient = self.value(k, p, "recipient_pattern", Self::pattern);
        let schemas = self.value(k, p, "schemas", Self::schemas);
        let directions = self.value(k, p, "direction", Self::directions);
        let require = self.value(k, p, "require", Self::requirements);
        let max_size = self.value(k, p, "max_size", Self::size);
        let action = match keys.find("action") {
            Some(entry) => word(self, &entry.value, &join(p, "action"), &ACTIONS),
            None => self.missing(item, p, "action", "`allow`, `deny` or `hold`"),
        };
        if action == Some(Action::Deny) {
            self.refuse_idle_keys(k, p);
        }
        let path = self.value(k, p, "path", |it, node, at| word(it, node, at, &PATHS));
        let priority = self.value(k, p, "priority", |it, node, at| {
            word(it, node, at, &PRIORITIES)
        });
        let ordering = self.value(k, p, "ordering", |it, node, at| {
            word(it, node, at, &ORDERINGS)
        });
        let signature = self.value(k, p, "signature_policy", |it, node, at| {
            word(it, node, at, &SIGNATURE_MODES)
        });
        let limit = self.limit(item, k, p);
        let max_size = max_size?.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        Some(Rule {
            place: place?,
            sender: sender?.unwrap_or(AddressPattern::Any),
            recipient: recipient?.unwrap_or(AddressPattern::Any),
            schemas: schemas?.unwrap_or_default(),
            directions: directions?.unwrap_or(Directions::MESSAGES),
            require: require?.unwrap_or_default(),
            max_size,
            action: action?,
            path: path?,
            priority: priority?,
            ordering: ordering?,
            signature: signature?.unwrap_or_default(),
            limit: limit?,
        })
    }

    /// Reads a key that may be left out; the outer `None` after a fault.
    fn value<T>(
        &mut self,
        keys: &Keys<'_>,
        path: &str,
        name: &str,
        read: impl FnOnce(&mut Self, &Node, &str) -> Option<T>,
    ) -> Option<Option<T>> {
        match keys.find(name) {
            Some(entry) => read(self, &entry.value, &join(path, name)).map(Some),
            None => Some(None),
        }
    }

    /// A name is what a rule's limits are kept by, so none may stand twice.
    fn is_new(
        &mut self,
        place: &Arc<RulePlace>,
        keys: &Keys<'_>,
        path: &str,
        names: &mut Names,
    ) -> bool {
        let (Some(name), Some(entry)) = (&place.name, keys.find("name")) else {
            return true;
        };
        if let Some((file, line)) = names.get(name) {
            let text = format!(
                "is the name of the rule at {}:{line} already; give each its own",
                file.display()
            );
            let path = join(path, "name");
            self.fault::<()>(&entry.value.origin, &path, text);
            return false;
        }
        names.insert(name.clone(), (place.file.clone(), place.line));
        true
    }

    fn refuse_idle_keys(&mut self, keys: &Keys<'_>, path: &str) {
        for name in &KNOWN[OF_WHAT_PASSES] {
            if let Some(entry) = keys.find(name) {
                let text = "means nothing where `action` is `deny`; remove it".to_owned();
                self.fault::<()>(&entry.origin, &join(path, name), text);
            }
        }
    }

    fn limit(&mut self, item: &Node, keys: &Keys<'_>, path: &str) -> Option<Option<Arc<Limit>>> {
        let rate = self.value(keys, path, "rate_limit", Self::rate);
        let quota = self.value(keys, path, "quota", Self::quota);
        let (rate, quota) = (rate?, quota?);
        if rate.is_none() && quota.is_none() {
            return Some(None);
        }
        let (messages, kibibytes) = quota.unwrap_or_default();
        let name = keys.find("name").map(|entry| &entry.value.shape);
        let mut identity = String::new();
        match name {
            Some(Shape::Text(name)) => identity.push_str(name),
            _ => write_node(item, &mut identity),
        }
        Some(Some(Arc::new(Limit {
            identity: identity.into(),
            number: 0,
            rate,
            messages,
            kibibytes,
        })))
    }

    fn quota(&mut self, node: &Node, path: &str) -> Option<Quota> {
        let keys = self.keys(node, path, &["messages", "bytes"])?;
        let messages = self.value(&keys, path, "messages", Self::count);
        let bytes = self.value(&keys, path, "bytes", Self::kibibytes);
        let quota = (messages?, bytes?);
        if quota == (None, None) {
            let text = "says nothing; give `messages`, `bytes` or both".to_owned();
            return self.fault(&first_of(node), path, text);
        }
        Some(quota)
    }

    fn kibibytes(&mut self, node: &Node, path: &str) -> Option<NonZeroU32> {
        let bytes = self.size(node, path)?;
        let whole = u32::try_from(bytes.div_ceil(1_024)).ok();
        match whole.and_then(NonZeroU32::new) {
            Some(kibibytes) => Some(kibibytes),
            None => {
                let text = "is too much: at most 3TiB a day".to_owned();
                self.fault(&node.origin, path, text)
            }
        }
    }
}

/// What a rule says, without its places: the identity of a rule without a name. A mark stands before
/// it that no name has.
fn write_node(node: &Node, text: &mut String) {
    text.push('\n');
    match &node.shape {
        Shape::Null => text.push('~'),
        Shape::Bool(value) => {
            let _ = write!(text, "{value}");
        }
        Shape::Number(number) => text.push_str(number),
        Shape::Text(given) => {
            let _ = write!(text, "{given:?}");
        }
        Shape::List(items) => items.iter().for_each(|item| write_node(item, text)),
        Shape::Map(entries) => {
            for entry in entries {
                let _ = write!(text, "\n{:?}:", entry.key);
                write_node(&entry.value, text);
            }
        }
    }
}
