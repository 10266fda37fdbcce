//! Keys that mean nothing, keys that stand twice, and what was probably meant.

use super::document::{Entry, Node, Origin, Shape};
use super::environment;
use super::section::{DOMAIN, Section};

/// A fault without its line: place, key, text.
type Found = (Origin, String, String);

/// Every unknown key, every key that stands twice and every section that is none.
pub(super) fn search(root: &Node, sections: &[&Section]) -> Vec<Found> {
    if map(root).is_none() {
        let text = "must hold keys, such as `domains: [example.com]`".to_owned();
        return vec![(root.origin.clone(), String::new(), text)];
    }
    search_level((&root.origin, root), "", "", sections)
}

/// Looks at the keys under a path; `shown` is the path as it was written.
fn search_level(
    (origin, node): (&Origin, &Node),
    path: &str,
    shown: &str,
    sections: &[&Section],
) -> Vec<Found> {
    let Some(entries) = map(node) else {
        let text = format!("must hold keys{}", example(path, sections));
        return vec![(origin.clone(), shown.to_owned(), text)];
    };
    let mut found = twice(entries, shown);
    for entry in entries {
        let below = join(path, &entry.key);
        let shown = join(shown, &entry.key);
        let own = sections.iter().find(|section| section.name == path);
        if path.ends_with(DOMAIN) || own.is_none_or(|section| section.find(&entry.key).is_none()) {
            if let Some(section) = sections
                .iter()
                .find(|section| section.map() == Some(&below))
            {
                found.extend(search_domains(entry, section, &shown, sections));
                continue;
            }
            if is_path(&below, sections) {
                found.extend(search_level(
                    (&entry.origin, &entry.value),
                    &below,
                    &shown,
                    sections,
                ));
                continue;
            }
        }
        if own.is_none_or(|section| section.find(&entry.key).is_none()) {
            let text = unknown(entry, path, sections);
            found.push((entry.origin.clone(), shown, text));
        }
    }
    found
}

/// Looks at the section of each domain.
fn search_domains(
    entry: &Entry,
    section: &Section,
    shown: &str,
    sections: &[&Section],
) -> Vec<Found> {
    let Some(domains) = map(&entry.value) else {
        let text = "must hold domains, each with keys of its own".to_owned();
        return vec![(entry.origin.clone(), shown.to_owned(), text)];
    };
    let mut found = twice(domains, shown);
    for domain in domains {
        let shown = join(shown, &domain.key);
        found.extend(search_level(
            (&domain.origin, &domain.value),
            section.name,
            &shown,
            sections,
        ));
    }
    found
}

/// Whether a section has this path, or stands below it.
fn is_path(path: &str, sections: &[&Section]) -> bool {
    sections.iter().any(|section| {
        section
            .name
            .strip_prefix(path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

fn join(path: &str, key: &str) -> String {
    match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    }
}

fn example(path: &str, sections: &[&Section]) -> String {
    sections
        .iter()
        .find(|section| section.name == path)
        .and_then(|section| section.keys.first())
        .map_or(String::new(), |key| {
            format!(", such as `{}: {}`", key.name, (key.example)())
        })
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

fn unknown(entry: &Entry, path: &str, sections: &[&Section]) -> String {
    match nearest(sections, path, &entry.key) {
        Some(meant) => format!("is no key; did you mean `{meant}`?"),
        None => format!("is no key{}", known(path, sections)),
    }
}

fn known(path: &str, sections: &[&Section]) -> String {
    let names = names(path, sections);
    if names.is_empty() {
        return format!("; `{path}` has none in this version");
    }
    format!("; known here: {}", names.join(", "))
}

/// What may stand under a path: keys, and the first steps of what is below.
fn names(path: &str, sections: &[&Section]) -> Vec<String> {
    let own = sections.iter().filter(|section| section.name == path);
    let mut names: Vec<String> = own
        .flat_map(|section| section.keys)
        .map(|key| key.name.to_owned())
        .collect();
    for section in sections.iter().filter(|section| !section.name.is_empty()) {
        let rest = match path {
            "" => Some(section.name),
            path => section
                .name
                .strip_prefix(path)
                .and_then(|rest| rest.strip_prefix('.')),
        };
        let step = rest.and_then(|rest| rest.split('.').next());
        if let Some(step) = step.filter(|step| !names.iter().any(|name| name == step)) {
            names.push(step.to_owned());
        }
    }
    names
}

/// What to say to a variable that sets no key.
pub(super) fn variable(sections: &[&Section], section: &str, name: &str) -> String {
    let settable = sections.iter().filter(|table| table.map().is_none());
    let meant = settable.flat_map(|table| {
        let variables = table
            .keys
            .iter()
            .map(|key| environment::variable(table.name, key.name));
        variables.collect::<Vec<_>>()
    });
    if section
        .split('.')
        .next()
        .is_some_and(|first| sections.iter().any(|table| table.map() == Some(first)))
    {
        return format!(
            "sets no key; `{}` is set in the file only",
            section.split('.').next().unwrap_or_default()
        );
    }
    let given = environment::variable(section, name);
    match closest(&given, meant) {
        Some(meant) => format!("sets no key; did you mean {meant}?"),
        None => "sets no key; see the reference of the configuration".to_owned(),
    }
}

/// The key that was meant: one of the same place, or the same name elsewhere.
fn nearest(sections: &[&Section], path: &str, given: &str) -> Option<String> {
    closest(given, names(path, sections).into_iter()).or_else(|| {
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
