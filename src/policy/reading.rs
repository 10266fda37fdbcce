//! Reading policy files: all files, all faults, no file twice.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fault::FaultList;
use super::index::AddressIndex;
use super::pattern::AddressPattern;
use super::rule::{Action, Rule, RulePlace};
use super::set::Restricted;
use crate::config::{
    Entry, Lines, Node, Origin, Place, Shape, closest, lines, locate, parse_at_most,
};

mod rules;
mod values;

use rules::Names;
use values::{DEFAULTS, word};

/// Bytes of one file.
pub(super) const LARGEST_FILE: usize = 1 << 20;
/// Rules of all files, restricted recipients counted.
pub(super) const MOST_RULES: usize = 10_000;
/// Keys and values of one file.
const MOST_VALUES: usize = 300_000;
/// Brackets and braces of one file that open, those in texts and comments counted. The parser takes time
/// by their number and by how many are open at once.
const MOST_BRACKETS: usize = 30_000;
/// Brackets and braces open at once.
const DEEPEST: usize = 100;
/// Patterns in one list.
const MOST_IN_A_LIST: usize = 1_000;
/// So many places are found by reading a file once more.
const MOST_LOCATED: usize = 16;

/// What the files say, when nothing is wrong with them.
pub(super) struct Draft {
    pub(super) default: Action,
    pub(super) restricted: Vec<Restricted>,
    pub(super) rules: Vec<Rule>,
}

/// Reads all files; `None` only after a fault.
pub(super) fn read(files: &[(PathBuf, String)], faults: &mut FaultList) -> Option<Draft> {
    let mut whole = Whole::default();
    for (file, text) in files {
        match Reading::start(file, text, faults) {
            Some((mut reading, root)) => reading.read_file(&root, &mut whole),
            None => whole.unread_default = true,
        }
    }
    let Some((default, _)) = whole.default else {
        if !whole.unread_default {
            let place = || whole_file(&files[0].0);
            let text = "is missing in every file; set it to `deny` or `allow` in one of them";
            faults.add(place, "default_policy", text.to_owned());
        }
        return None;
    };
    let (restricted, rules) = (whole.restricted, whole.rules);
    Some(Draft {
        default,
        restricted,
        rules,
    })
}

/// What the files read so far say together.
#[derive(Default)]
struct Whole {
    default: Option<(Action, PathBuf)>,
    /// A default stands somewhere that has a fault of its own.
    unread_default: bool,
    restricted: Vec<Restricted>,
    rules: Vec<Rule>,
    /// Rules met, those with faults counted.
    met: usize,
    names: Names,
}

fn whole_file(file: &Path) -> Place {
    Place::File {
        file: file.to_owned(),
        line: None,
        column: None,
    }
}

/// Why a text is not even given to the parser.
fn too_nested(text: &str) -> Option<String> {
    let (mut all, mut open) = (0_usize, 0_usize);
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => (all, open) = (all + 1, open + 1),
            b']' | b'}' => open = open.saturating_sub(1),
            _ => continue,
        }
        if open > DEEPEST {
            return Some(format!("has more than {DEEPEST} brackets open at once"));
        }
        if all > MOST_BRACKETS {
            let text = "has more than 30000 brackets; split it, or write a key a line";
            return Some(text.to_owned());
        }
    }
    None
}

/// One file being read.
struct Reading<'a> {
    file: &'a Path,
    text: &'a str,
    lines: Lines,
    /// Places that were found by reading again.
    located: usize,
    faults: &'a mut FaultList,
}

impl<'a> Reading<'a> {
    fn start(file: &'a Path, text: &'a str, faults: &'a mut FaultList) -> Option<(Self, Node)> {
        if text.len() > LARGEST_FILE {
            let text = "is larger than 1MiB; split it into several files".to_owned();
            faults.add(|| whole_file(file), "", text);
            return None;
        }
        if let Some(text) = too_nested(text) {
            faults.add(|| whole_file(file), "", text);
            return None;
        }
        match parse_at_most(text, MOST_VALUES) {
            Ok(root) => {
                let reading = Self {
                    file,
                    text,
                    lines: lines(text),
                    located: 0,
                    faults,
                };
                Some((reading, root))
            }
            Err(unreadable) => {
                let place = Place::File {
                    file: file.to_owned(),
                    line: unreadable.place.map(|(line, _)| line),
                    column: unreadable.place.map(|(_, column)| column),
                };
                let text = format!("cannot be read as YAML: {}", unreadable.text);
                faults.add(|| place, "", text);
                None
            }
        }
    }

    fn spot(&mut self, origin: &Origin) -> Option<(usize, usize)> {
        let Origin::Text(number) = origin else {
            return None;
        };
        self.lines.find(*number).or_else(|| {
            self.located += 1;
            (self.located <= MOST_LOCATED).then(|| locate(self.text, *number))?
        })
    }

    fn fault<T>(&mut self, origin: &Origin, key: &str, text: String) -> Option<T> {
        let spot = self.spot(origin);
        let place = Place::File {
            file: self.file.to_owned(),
            line: spot.map(|(line, _)| line),
            column: spot.map(|(_, column)| column),
        };
        self.faults.add(|| place, key, text);
        None
    }

    fn read_file(&mut self, root: &Node, whole: &mut Whole) {
        let known = ["version", "default_policy", "restricted", "rules"];
        let Some(keys) = self.keys(root, "", &known) else {
            whole.unread_default = true;
            return;
        };
        self.version(root, keys.find("version"));
        if let Some(entry) = keys.find("default_policy") {
            self.default(entry, whole);
        }
        for (index, item) in self.items(keys.find("restricted"), "restricted") {
            let path = format!("restricted[{index}]");
            if self.has_room(item, &path, whole)
                && let Some(restricted) = self.restricted(item, &path)
            {
                whole.restricted.push(restricted);
            }
        }
        for (index, item) in self.items(keys.find("rules"), "rules") {
            let path = format!("rules[{index}]");
            if self.has_room(item, &path, whole)
                && let Some(rule) = self.rule(item, &path, &mut whole.names)
            {
                whole.rules.push(rule);
            }
        }
    }

    /// Counts one more rule; tells once that there are too many.
    fn has_room(&mut self, item: &Node, path: &str, whole: &mut Whole) -> bool {
        whole.met += 1;
        if whole.met == MOST_RULES + 1 {
            let text = format!("is one too many: at most {MOST_RULES} in all files together");
            self.fault::<()>(&first_of(item), path, text);
        }
        whole.met <= MOST_RULES
    }

    fn version(&mut self, root: &Node, entry: Option<&Entry>) {
        let Some(entry) = entry else {
            let text = "is missing; begin the file with `version: \"1.0\"`".to_owned();
            let origin = first_of(root);
            self.fault::<()>(&origin, "version", text);
            return;
        };
        let text = match &entry.value.shape {
            Shape::Text(text) if text == "1.0" => return,
            Shape::Number(_) => "must be a text in quotes: `version: \"1.0\"`",
            _ => "is not known; this gateway reads `version: \"1.0\"`",
        };
        self.fault::<()>(&entry.value.origin, "version", text.to_owned());
    }

    fn default(&mut self, entry: &Entry, whole: &mut Whole) {
        const KEY: &str = "default_policy";
        if let Some((_, file)) = &whole.default {
            let file = file.display();
            let text = format!("stands in {file} already; only one file may set it");
            self.fault::<()>(&entry.origin, KEY, text);
            return;
        }
        match word(self, &entry.value, KEY, &DEFAULTS) {
            Some(action) => whole.default = Some((action, self.file.to_owned())),
            None => whole.unread_default = true,
        }
    }

    fn restricted(&mut self, item: &Node, path: &str) -> Option<Restricted> {
        let known = ["recipient_pattern", "senders", "name", "reason"];
        let keys = self.keys(item, path, &known)?;
        let recipient = match keys.find("recipient_pattern") {
            Some(entry) => self.pattern(&entry.value, &join(path, "recipient_pattern")),
            None => self.missing(item, path, "recipient_pattern", "an address or a pattern"),
        };
        let senders = match keys.find("senders") {
            Some(entry) => self.patterns(&entry.value, &join(path, "senders")),
            None => self.missing(item, path, "senders", "a list of patterns; `[]` is nobody"),
        };
        let place = self.place(item, &keys, path);
        let (recipient, senders) = (recipient?, senders?);
        Some(Restricted {
            place: place?,
            recipient,
            index: AddressIndex::build(senders.iter()),
            senders,
        })
    }

    fn patterns(&mut self, node: &Node, path: &str) -> Option<Vec<AddressPattern>> {
        let items = self.list(node, path)?;
        let read = |(index, item)| self.pattern(item, &format!("{path}[{index}]"));
        // Every one is looked at before one that failed fails the list.
        let read: Vec<_> = items.iter().enumerate().map(read).collect();
        read.into_iter().collect()
    }

    fn place(&mut self, item: &Node, keys: &Keys<'_>, path: &str) -> Option<Arc<RulePlace>> {
        let mut text = |name| match keys.find(name) {
            Some(entry) => self.line_of_text(&entry.value, &join(path, name)).map(Some),
            None => Some(None),
        };
        let (name, reason) = (text("name"), text("reason"));
        let spot = self.spot(&first_of(item));
        Some(Arc::new(RulePlace {
            file: self.file.to_owned(),
            line: spot.map_or(1, |(line, _)| line),
            name: name?,
            reason: reason?,
        }))
    }

    fn missing<T>(&mut self, item: &Node, path: &str, key: &str, what: &str) -> Option<T> {
        let text = format!("is missing; give {what}");
        self.fault(&first_of(item), &join(path, key), text)
    }

    /// The entries of a map, after telling what is unknown or stands twice.
    fn keys<'n>(&mut self, node: &'n Node, path: &str, known: &[&str]) -> Option<Keys<'n>> {
        let Shape::Map(entries) = &node.shape else {
            let text = format!("must hold keys; known here: {}", known.join(", "));
            return self.fault(&node.origin, path, text);
        };
        let mut keys: Vec<&Entry> = Vec::new();
        for entry in entries {
            let key = join(path, &entry.key);
            let text = if !known.contains(&entry.key.as_str()) {
                unknown(&entry.key, known)
            } else if keys.iter().any(|other| other.key == entry.key) {
                "stands twice; remove one".to_owned()
            } else {
                keys.push(entry);
                continue;
            };
            // What is known is read all the same, so that every fault is found.
            self.fault::<()>(&entry.origin, &key, text);
        }
        Some(Keys(keys))
    }

    /// The items of a list of maps; none where there is no such key, or after a fault.
    fn items<'n>(
        &mut self,
        entry: Option<&'n Entry>,
        path: &str,
    ) -> impl Iterator<Item = (usize, &'n Node)> + use<'n> {
        let items = match entry.map(|entry| (&entry.value.shape, entry)) {
            None => &[][..],
            Some((Shape::List(items), _)) => items.as_slice(),
            Some((_, entry)) => {
                self.fault::<()>(&entry.value.origin, path, "must be a list".to_owned());
                &[]
            }
        };
        items.iter().enumerate()
    }
}

/// The known entries of a map, each once.
struct Keys<'n>(Vec<&'n Entry>);

impl<'n> Keys<'n> {
    fn find(&self, key: &str) -> Option<&'n Entry> {
        self.0.iter().copied().find(|entry| entry.key == key)
    }
}

/// Where a map begins: its place is that of its first key.
fn first_of(node: &Node) -> Origin {
    match node.entries().first() {
        Some(entry) => entry.origin.clone(),
        None => node.origin.clone(),
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        return key.to_owned();
    }
    format!("{path}.{key}")
}

fn unknown(given: &str, known: &[&str]) -> String {
    match closest(given, known.iter().map(|&name| name.to_owned())) {
        Some(meant) => format!("is no key; did you mean `{meant}`?"),
        None => format!("is no key; known here: {}", known.join(", ")),
    }
}
