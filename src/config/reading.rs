//! Reading a configuration: the tree of what was written, and the faults found so far.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::document::{self, Entry, Node, Origin, Shape};
use super::environment::{Environment, variable};
use super::fault::{Fault, Place};
use super::kind::Kind;
use super::section::{EACH, Section, join};
use super::unknown;
use crate::protocol::Domain;

/// Where each key of a loaded configuration was written, for faults found later.
#[derive(Debug, Clone)]
pub struct Places {
    file: PathBuf,
    text: String,
    root: Node,
}

impl Places {
    /// The place of a value, such as that of `tls.cert_file`; the whole file if nobody wrote it.
    #[must_use]
    pub fn find(&self, key: &str) -> Place {
        let node = self.root.at(key);
        self.place(node.map_or(&Origin::Nowhere, |node| &node.origin))
    }

    pub(super) fn place(&self, origin: &Origin) -> Place {
        let spot = match origin {
            Origin::Variable(name) => {
                let variable = name.clone();
                return Place::Variable { variable };
            }
            Origin::Text(number) => document::locate(&self.text, *number),
            Origin::Nowhere => None,
        };
        Place::File {
            file: self.file.clone(),
            line: spot.map(|(line, _)| line),
            column: spot.map(|(_, column)| column),
        }
    }
}

/// What is being read. Every fault goes here, and reading goes on.
pub(super) struct Reading<'a> {
    places: Places,
    environment: &'a Environment,
    folder: PathBuf,
    /// The key being read.
    key: String,
    /// The domain whose section is being read.
    domain: String,
    faults: Vec<(Origin, String, String)>,
}

impl<'a> Reading<'a> {
    /// Starts with what the file says, overridden by what the environment says.
    pub(super) fn start(
        file: &Path,
        text: String,
        environment: &'a Environment,
        sections: &[&'static Section],
    ) -> Result<Self, Fault> {
        let root = document::parse(&text).map_err(|unreadable| Fault {
            place: Place::File {
                file: file.to_owned(),
                line: unreadable.place.map(|(line, _)| line),
                column: unreadable.place.map(|(_, column)| column),
            },
            key: String::new(),
            text: format!(
                "is not YAML: {}{}",
                unreadable.text,
                tab_hint(&text, unreadable.place)
            ),
        })?;
        let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let mut reading = Self {
            folder: absolute.parent().unwrap_or(Path::new("/")).to_owned(),
            places: Places {
                file: file.to_owned(),
                text,
                root,
            },
            environment,
            key: String::new(),
            domain: String::new(),
            faults: Vec::new(),
        };
        reading.override_keys(sections);
        name_domains(&mut reading.places.root, sections);
        let found = unknown::search(&reading.places.root, sections);
        reading.faults.extend(found);
        Ok(reading)
    }

    fn override_keys(&mut self, sections: &[&'static Section]) {
        for (name, steps, value) in self.environment.overrides() {
            let origin = Origin::Variable(name.to_owned());
            if let Err(text) =
                override_key(&mut self.places.root, sections, &steps, (&origin, value))
            {
                self.faults.push((origin, String::new(), text));
            }
        }
    }

    /// Reads a key; `None` after a fault.
    pub(super) fn key<K: Kind>(&mut self, section: &Section, name: &str) -> Option<K::Value> {
        let key = section.find(name)?;
        let path = self.path(section, name);
        self.key.clone_from(&path);
        if let Some(node) = self.written(section, name)? {
            return K::read(&node, self);
        }
        if let Some(default) = key.default {
            let node = document::parse(default).expect("a default is YAML");
            return K::read(&Node::new(Origin::Nowhere, node.shape), self);
        }
        let absent = K::absent();
        if absent.is_none() {
            let place = self
                .entry(section)
                .map_or(Origin::Nowhere, |entry| entry.origin.clone());
            let text = format!(
                "is missing; set it to {}, such as `{}`",
                (key.noun)(),
                (key.example)()
            );
            self.fault(place, &path, text);
        }
        absent
    }

    /// Reads a section that stands once for each domain.
    pub(super) fn each<T>(
        &mut self,
        section: &Section,
        read: impl Fn(&Domain, &mut Self) -> Option<T>,
    ) -> Option<BTreeMap<Domain, T>> {
        let map = section.map().and_then(|path| self.places.root.at(path));
        let keys = map.map_or(&[][..], Node::entries).iter();
        // What is no domain is a fault already.
        let domains: Vec<Domain> = keys.flat_map(|entry| Domain::parse(&entry.key)).collect();
        let one = |domain: Domain| {
            domain.as_str().clone_into(&mut self.domain);
            let value = read(&domain, self);
            (domain, value)
        };
        // Every one is looked at before one that failed fails the map.
        let read: Vec<(Domain, Option<T>)> = domains.into_iter().map(one).collect();
        let all = read.into_iter();
        all.map(|(domain, value)| Some((domain, value?))).collect()
    }

    /// The steps to a section in the file, with the domain that is being read.
    fn steps<'s>(&'s self, section: &Section) -> impl Iterator<Item = &'s str> {
        section.steps().map(|step| match step {
            EACH => self.domain.as_str(),
            step => step,
        })
    }

    /// A key as it is named in faults.
    fn path(&self, section: &Section, key: &str) -> String {
        self.steps(section)
            .chain([key])
            .fold(String::new(), |path, step| join(&path, step))
    }

    /// What was written for a key; the outer `None` when its section cannot be read, which is a
    /// fault already.
    fn written(&self, section: &Section, name: &str) -> Option<Option<Node>> {
        let holds_keys = |node: &Node| matches!(node.shape, Shape::Map(_) | Shape::Null);
        let mut map = Some(&self.places.root);
        for step in self.steps(section) {
            if !map.is_none_or(holds_keys) {
                return None;
            }
            map = map.and_then(|map| map.find(step)).map(|it| &it.value);
        }
        if !map.is_none_or(holds_keys) {
            return None;
        }
        let entry = map.and_then(|map| map.find(name));
        Some(entry.map(|entry| entry.value.clone()))
    }

    fn entry(&self, section: &Section) -> Option<&Entry> {
        let mut steps = self.steps(section);
        let first = self.places.root.find(steps.next()?);
        steps.fold(first, |entry, step| entry?.value.find(step))
    }

    /// Whether anything was written of a section.
    pub(super) fn has(&self, section: &Section) -> bool {
        self.entry(section).is_some()
    }

    /// Reads a section that may be left out: the inner `None` where it is, the outer after a fault.
    pub(super) fn maybe<T>(
        &mut self,
        section: &Section,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.has(section) {
            true => read(self).map(Some),
            false => Some(None),
        }
    }

    /// Notes a fault of the key being read.
    pub(super) fn refuse<T>(&mut self, node: &Node, text: String) -> Option<T> {
        let key = self.key.clone();
        self.fault(node.origin.clone(), &key, text);
        None
    }

    /// Notes a fault of a key that reads well but does not fit the others.
    pub(super) fn fault_of(&mut self, key: &str, text: String) {
        let node = self.places.root.at(key);
        let origin = node.map_or(Origin::Nowhere, |node| node.origin.clone());
        self.fault(origin, key, text);
    }

    fn fault(&mut self, origin: Origin, key: &str, text: String) {
        self.faults.push((origin, key.to_owned(), text));
    }

    pub(super) fn environment(&self) -> &Environment {
        self.environment
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The faults with their places, and the places of everything.
    pub(super) fn finish(self) -> (Vec<Fault>, Places) {
        let placed = |(origin, key, text): (Origin, String, String)| Fault {
            place: self.places.place(&origin),
            key,
            text,
        };
        let faults = self.faults.into_iter().map(placed).collect();
        (faults, self.places)
    }
}

/// What to do when a line begins with a tab: the parser's words do not say it.
fn tab_hint(text: &str, place: Option<(usize, usize)>) -> &'static str {
    let line = place.and_then(|(line, _)| text.lines().nth(line.saturating_sub(1)));
    let indent = line.map(|line| &line[..line.len() - line.trim_start().len()]);
    if indent.is_some_and(|indent| indent.contains('\t')) {
        "; indent with blanks, not tabs"
    } else {
        ""
    }
}

/// Gives domains that are keys their normal form, so that each is found under one name only.
fn name_domains(root: &mut Node, sections: &[&'static Section]) {
    for map in sections.iter().filter_map(|section| section.map()) {
        for entry in root.at_mut(map).map_or(&mut [][..], Node::entries_mut) {
            if let Ok(domain) = Domain::parse(&entry.key) {
                entry.key = domain.as_str().to_owned();
            }
        }
    }
}

fn override_key(
    root: &mut Node,
    sections: &[&'static Section],
    steps: &[String],
    (origin, value): (&Origin, &str),
) -> Result<(), String> {
    let (name, outer) = steps.split_last().expect("a split text has a part");
    let section = outer.join(".");
    let Some(structured) = is_structured(sections, &section, name) else {
        return Err(unknown::variable(sections, &section, name));
    };
    let shape = if structured {
        document::parse(value)
            .map_err(|fault| format!("is not YAML: {}", fault.text))?
            .shape
    } else {
        Shape::Text(value.to_owned())
    };
    let place = outer.iter().try_fold(root, |node, step| node.section(step));
    let node = with_origin(shape, origin);
    let other = place
        .as_ref()
        .and_then(|map| map.find(name))
        .map(|entry| &entry.origin);
    if matches!(other, Some(Origin::Variable(_))) {
        return Err(format!(
            "is set twice, in other cases of letters; keep {}",
            variable(&section, name)
        ));
    }
    // A section that is no map is a fault of the file, found elsewhere.
    place.map(|map| map.put(name, node));
    Ok(())
}

/// Whether a variable's value is YAML and not a plain text; nothing if it sets no key. The map of
/// sections by domain is set as a whole, because no variable can name a domain.
fn is_structured(sections: &[&'static Section], section: &str, name: &str) -> Option<bool> {
    let path = join(section, name);
    if sections.iter().any(|it| it.map() == Some(path.as_str())) {
        return Some(true);
    }
    let table = sections.iter().find(|table| table.name == section)?;
    table.find(name).map(|key| key.structured)
}

fn with_origin(shape: Shape, origin: &Origin) -> Node {
    let shape = match shape {
        Shape::List(items) => Shape::List(
            items
                .into_iter()
                .map(|item| with_origin(item.shape, origin))
                .collect(),
        ),
        Shape::Map(entries) => Shape::Map(
            entries
                .into_iter()
                .map(|entry| Entry {
                    origin: origin.clone(),
                    key: entry.key,
                    value: with_origin(entry.value.shape, origin),
                })
                .collect(),
        ),
        other => other,
    };
    Node::new(origin.clone(), shape)
}
