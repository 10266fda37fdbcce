//! Keys that mean nothing, keys that stand twice, and what was probably meant.

use super::document::{Entry, Node, Origin, Shape};
use super::environment;
use super::section::{EACH, Section, join};
use crate::protocol::Domain;

/// A fault without its line: place, key, text.
type Found = (Origin, String, String);

/// Every unknown key, every key that stands twice and every section that is none.
pub(super) fn search(root: &Node, sections: &[&'static Section]) -> Vec<Found> {
    let mut search = Search {
        sections,
        found: Vec::new(),
    };
    search.look(sections[0], root, (&root.origin, ""));
    search.found
}

struct Search<'a> {
    sections: &'a [&'static Section],
    found: Vec<Found>,
}

impl Search<'_> {
    /// Looks at a section and those inside it. `origin` is its key's, `path` its name in faults.
    fn look(&mut self, section: &Section, node: &Node, (origin, path): (&Origin, &str)) {
        let Some(entries) = map(node) else {
            let text = format!("must hold keys{}", self.example(section));
            return self.found.push((origin.clone(), path.to_owned(), text));
        };
        self.twice(entries, path);
        for entry in entries {
            let path = join(path, &entry.key);
            match self.inner(section, &entry.key) {
                Some(inner) => self.look_inside(inner, entry, &path),
                None if section.find(&entry.key).is_some() => {}
                None => self.unknown(section, entry, path),
            }
        }
    }

    fn look_inside(&mut self, inner: &Section, entry: &Entry, path: &str) {
        if inner.step() == EACH && Domain::parse(&entry.key).is_err() {
            let text = format!("is not a domain, such as `{}`", inner.sample());
            return self
                .found
                .push((entry.origin.clone(), path.to_owned(), text));
        }
        self.look(inner, &entry.value, (&entry.origin, path));
    }

    fn inner(&self, section: &Section, key: &str) -> Option<&'static Section> {
        let mut inner = section.inner(self.sections);
        inner.find(|inner| inner.step() == key || inner.step() == EACH)
    }

    fn example(&self, section: &Section) -> String {
        let key = section.keys.first();
        let inner = section.inner(self.sections).next();
        match (key, inner) {
            (Some(key), _) => format!(", such as `{}: {}`", key.name, (key.example)()),
            (None, Some(inner)) => format!(", such as `{}`", inner.sample()),
            (None, None) => String::new(),
        }
    }

    fn twice(&mut self, entries: &[Entry], path: &str) {
        for (index, entry) in entries.iter().enumerate() {
            if entries[..index].iter().any(|other| other.key == entry.key) {
                let text = "stands twice; keep one".to_owned();
                let key = join(path, &entry.key);
                self.found.push((entry.origin.clone(), key, text));
            }
        }
    }

    fn unknown(&mut self, section: &Section, entry: &Entry, path: String) {
        let text = match nearest(self.sections, section, &entry.key) {
            Some(meant) => format!("is no key; did you mean `{meant}`?"),
            None => format!("is no key{}", known(self.sections, section)),
        };
        self.found.push((entry.origin.clone(), path, text));
    }
}

fn map(node: &Node) -> Option<&[Entry]> {
    matches!(node.shape, Shape::Map(_) | Shape::Null).then(|| node.entries())
}

/// The keys of a section and the sections inside it.
fn names(sections: &[&'static Section], section: &Section) -> Vec<&'static str> {
    let keys = section.keys.iter().map(|key| key.name);
    keys.chain(section.inner(sections).map(Section::step))
        .collect()
}

fn known(sections: &[&'static Section], section: &Section) -> String {
    let names = names(sections, section);
    if names.is_empty() {
        return format!("; `{}` has none in this version", section.name);
    }
    format!("; known here: {}", names.join(", "))
}

/// What to say to a variable that sets no key.
pub(super) fn variable(sections: &[&'static Section], section: &str, name: &str) -> String {
    let begins = |map: &&str| section == *map || section.starts_with(&format!("{map}."));
    if let Some(map) = sections.iter().filter_map(|it| it.map()).find(begins) {
        let whole = environment::variable("", map);
        return format!("sets no key; {whole} sets all of `{map}`, as a map in YAML");
    }
    let meant = sections.iter().flat_map(|table| match table.map() {
        Some(map) => vec![environment::variable("", map)],
        None => variables(table),
    });
    let given = environment::variable(section, name);
    match closest(&given, meant) {
        Some(meant) => format!("sets no key; did you mean {meant}?"),
        None => "sets no key; see the reference of the configuration".to_owned(),
    }
}

fn variables(section: &Section) -> Vec<String> {
    let keys = section.keys.iter();
    keys.map(|key| environment::variable(section.name, key.name))
        .collect()
}

/// The key that was meant: one of the same section, a section in it, or the same name elsewhere.
fn nearest(sections: &[&'static Section], section: &Section, given: &str) -> Option<String> {
    let here = names(sections, section).into_iter().map(str::to_owned);
    closest(given, here).or_else(|| {
        let holds = |section: &&&Section| section.find(given).is_some();
        sections
            .iter()
            .find(holds)
            .map(|section| section.path(given))
    })
}

/// The candidate with the fewest wrong letters, if they are few.
pub(crate) fn closest(given: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    let few = (given.len() / 3).max(1);
    candidates
        .map(|name| (strsim::damerau_levenshtein(given, &name), name))
        .filter(|(wrong, _)| *wrong <= few)
        .min_by_key(|(wrong, _)| *wrong)
        .map(|(_, name)| name)
}
