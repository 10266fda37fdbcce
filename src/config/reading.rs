//! Reading a configuration: the tree of what was written, and the faults found so far.

use std::path::{Path, PathBuf};

use super::document::{self, Entry, Node, Origin, Shape};
use super::environment::{Environment, variable};
use super::fault::{Fault, Place};
use super::kind::Kind;
use super::section::Section;
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
        let mut node = &self.root;
        for step in key.split('.') {
            match node.find(step) {
                Some(entry) => node = &entry.value,
                None => return self.place(&Origin::Nowhere),
            }
        }
        self.place(&node.origin)
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
    /// The domain whose section is being read, with what was written for it.
    domain: Option<(String, Node)>,
    faults: Vec<(Origin, String, String)>,
}

impl<'a> Reading<'a> {
    /// Starts with what the file says, overridden by what the environment says.
    pub(super) fn start(
        file: &Path,
        text: String,
        environment: &'a Environment,
        sections: &[&Section],
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
            domain: None,
            faults: Vec::new(),
        };
        reading.override_keys(sections);
        let found = unknown::search(&reading.places.root, sections);
        reading.faults.extend(found);
        Ok(reading)
    }

    fn override_keys(&mut self, sections: &[&Section]) {
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
        self.key = self.path(section, name);
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
            let path = self.path(section, name);
            self.fault(place, &path, text);
        }
        absent
    }

    /// A key as it is named in faults, with the domain it is about.
    fn path(&self, section: &Section, key: &str) -> String {
        match &self.domain {
            Some((domain, _)) if section.map().is_some() => {
                format!("{}.{domain}.{key}", section.map().unwrap_or_default())
            }
            _ => section.path(key),
        }
    }

    /// Reads the section of each domain in a map of domains.
    pub(super) fn each<T>(
        &mut self,
        section: &Section,
        read: impl Fn(&mut Self) -> Option<T>,
    ) -> Option<Vec<(Domain, T)>> {
        let map = section.map()?;
        let entries = match self.places.root.at(map) {
            Some(entry) => entry.value.entries().to_vec(),
            None => Vec::new(),
        };
        let mut found: Vec<(Domain, T)> = Vec::new();
        let mut complete = true;
        for entry in entries {
            let path = format!("{map}.{}", entry.key);
            let domain = match Domain::parse(&entry.key) {
                Ok(domain) => domain,
                Err(fault) => {
                    self.fault(entry.origin, &path, format!("is no domain: {fault}"));
                    complete = false;
                    continue;
                }
            };
            if found.iter().any(|(other, _)| *other == domain) {
                let text = format!("{domain} stands twice; keep one");
                self.fault(entry.origin, &path, text);
                complete = false;
                continue;
            }
            self.domain = Some((entry.key, entry.value));
            match read(self) {
                Some(section) => found.push((domain, section)),
                None => complete = false,
            }
            self.domain = None;
        }
        complete.then_some(found)
    }

    /// Notes a fault of the domain's section that is being read.
    pub(super) fn refuse_domain<T>(
        &mut self,
        section: &Section,
        key: &str,
        text: String,
    ) -> Option<T> {
        let origin = self
            .domain
            .as_ref()
            .map_or(Origin::Nowhere, |(_, node)| node.origin.clone());
        let path = self.path(section, key);
        self.fault(origin, &path, text);
        None
    }

    /// What was written for a key; the outer `None` when its section cannot be read, which is a
    /// fault already.
    fn written(&self, section: &Section, name: &str) -> Option<Option<Node>> {
        let holds_keys = |node: &Node| matches!(node.shape, Shape::Map(_) | Shape::Null);
        let root = &self.places.root;
        let map = match (&self.domain, section.name) {
            (Some((_, node)), _) if section.map().is_some() => Some(node),
            (_, "") => Some(root),
            (_, name) => root.at(name).map(|entry| &entry.value),
        };
        if !holds_keys(root) || map.is_some_and(|map| !holds_keys(map)) {
            return None;
        }
        let entry = map.and_then(|map| map.find(name));
        Some(entry.map(|entry| entry.value.clone()))
    }

    fn entry(&self, section: &Section) -> Option<&Entry> {
        self.places.root.at(section.name)
    }

    /// Whether anything was written of a section.
    pub(super) fn has(&self, section: &Section) -> bool {
        self.entry(section).is_some()
    }

    /// Notes a fault of the key being read.
    pub(super) fn refuse<T>(&mut self, node: &Node, text: String) -> Option<T> {
        let key = self.key.clone();
        self.fault(node.origin.clone(), &key, text);
        None
    }

    /// Notes a fault of a key that reads well but does not fit the others.
    pub(super) fn fault_of(&mut self, key: &str, text: String) {
        let mut node = Some(&self.places.root);
        for step in key.split('.') {
            node = node
                .and_then(|node| node.find(step))
                .map(|entry| &entry.value);
        }
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

fn override_key(
    root: &mut Node,
    sections: &[&Section],
    steps: &[String],
    (origin, value): (&Origin, &str),
) -> Result<(), String> {
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let (section, name) = match steps.as_slice() {
        [name] => (String::new(), *name),
        [path @ .., name] => (path.join("."), *name),
        [] => return Err("names no key; see the reference of the configuration".to_owned()),
    };
    let section = section.as_str();
    let table = sections.iter().find(|table| table.name == section);
    let Some(key) = table.and_then(|table| table.find(name)) else {
        return Err(unknown::variable(sections, section, name));
    };
    let shape = if key.structured {
        document::parse(value)
            .map_err(|fault| format!("is not YAML: {}", fault.text))?
            .shape
    } else {
        Shape::Text(value.to_owned())
    };
    let place = match section {
        "" => Some(root),
        section => root.section(section),
    };
    let node = with_origin(shape, origin);
    let other = place
        .as_ref()
        .and_then(|map| map.find(name))
        .map(|entry| &entry.origin);
    if matches!(other, Some(Origin::Variable(_))) {
        return Err(format!(
            "is set twice, in other cases of letters; keep {}",
            variable(section, name)
        ));
    }
    // A section that is no map is a fault of the file, found elsewhere.
    place.map(|map| map.put(name, node));
    Ok(())
}

fn with_origin(shape: Shape, origin: &Origin) -> Node {
    let shape = match shape {
        Shape::List(items) => Shape::List(
            items
                .into_iter()
                .map(|item| with_origin(item.shape, origin))
                .collect(),
        ),
        other => other,
    };
    Node::new(origin.clone(), shape)
}
