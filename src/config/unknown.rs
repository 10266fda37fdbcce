//! Keys that mean nothing, keys that stand twice, and what was probably meant.

use super::document::{Entry, Node, Origin, Shape};
use super::environment;
use super::section::Section;

/// A fault without its line: place, key, text.
type Found = (Origin, String, String);

/// Every unknown key, every key that stands twice and every section that is none.
pub(super) fn search(root: &Node, sections: &[&Section]) -> Vec<Found> {
    let mut found = Vec::new();
    let Some(entries) = map(root) else {
        let text = "must hold keys, such as `domains: [example.com]`".to_owned();
        return vec![(root.origin.clone(), String::new(), text)];
    };
    found.extend(twice(entries, ""));
    for entry in entries {
        let section = sections.iter().find(|section| section.name == entry.key);
        match section.filter(|section| !section.name.is_empty()) {
            Some(section) => found.extend(search_section(entry, section, sections)),
            None if sections[0].find(&entry.key).is_some() => {}
            None => found.push(unknown(entry, sections[0], sections)),
        }
    }
    found
}

fn search_section(entry: &Entry, section: &Section, sections: &[&Section]) -> Vec<Found> {
    let Some(entries) = map(&entry.value) else {
        let example = section.keys.first().map_or(String::new(), |key| {
            format!(", such as `{}: {}`", key.name, (key.example)())
        });
        let text = format!("must hold keys{example}");
        return vec![(entry.origin.clone(), section.name.to_owned(), text)];
    };
    let mut found = twice(entries, section.name);
    for entry in entries
        .iter()
        .filter(|entry| section.find(&entry.key).is_none())
    {
        found.push(unknown(entry, section, sections));
    }
    found
}

fn map(node: &Node) -> Option<&[Entry]> {
    matches!(node.shape, Shape::Map(_) | Shape::Null).then(|| node.entries())
}

fn twice(entries: &[Entry], section: &str) -> Vec<Found> {
    let mut found = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        if entries[..index].iter().any(|other| other.key == entry.key) {
            let key = if section.is_empty() {
                entry.key.clone()
            } else {
                format!("{section}.{}", entry.key)
            };
            found.push((
                entry.origin.clone(),
                key,
                "stands twice; keep one".to_owned(),
            ));
        }
    }
    found
}

fn unknown(entry: &Entry, section: &Section, sections: &[&Section]) -> Found {
    let text = match nearest(sections, section, &entry.key) {
        Some(meant) => format!("is no key; did you mean `{meant}`?"),
        None => format!("is no key{}", known(section, sections)),
    };
    (entry.origin.clone(), section.path(&entry.key), text)
}

fn known(section: &Section, sections: &[&Section]) -> String {
    let mut names: Vec<&str> = section.keys.iter().map(|key| key.name).collect();
    if section.name.is_empty() {
        names.extend(
            sections
                .iter()
                .map(|section| section.name)
                .filter(|name| !name.is_empty()),
        );
    }
    if names.is_empty() {
        return format!("; `{}` has none in this version", section.name);
    }
    format!("; known here: {}", names.join(", "))
}

/// What to say to a variable that sets no key.
pub(super) fn variable(sections: &[&Section], section: &str, name: &str) -> String {
    let meant = sections.iter().flat_map(|table| {
        let variables = table
            .keys
            .iter()
            .map(|key| environment::variable(table.name, key.name));
        variables.collect::<Vec<_>>()
    });
    let given = environment::variable(section, name);
    match closest(&given, meant) {
        Some(meant) => format!("sets no key; did you mean {meant}?"),
        None => "sets no key; see the reference of the configuration".to_owned(),
    }
}

/// The key that was meant: one of the same section, a section, or the same name elsewhere.
fn nearest(sections: &[&Section], section: &Section, given: &str) -> Option<String> {
    let here = section.keys.iter().map(|key| key.name.to_owned());
    let siblings = sections
        .iter()
        .filter(|other| section.name.is_empty() && !other.name.is_empty());
    let names = siblings.map(|section| section.name.to_owned());
    closest(given, here.chain(names)).or_else(|| {
        let holds = |section: &&&Section| section.find(given).is_some();
        sections
            .iter()
            .find(holds)
            .map(|section| section.path(given))
    })
}

/// The candidate with the fewest wrong letters, if they are few.
fn closest(given: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    let few = (given.len() / 3).max(1);
    candidates
        .map(|name| (strsim::damerau_levenshtein(given, &name), name))
        .filter(|(wrong, _)| *wrong <= few)
        .min_by_key(|(wrong, _)| *wrong)
        .map(|(_, name)| name)
}
