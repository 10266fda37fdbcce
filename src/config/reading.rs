//! Reading a configuration: the tree of what was written, and the faults found so far.

use std::path::{Path, PathBuf};

use super::document::{self, Entry, Node, Origin, Shape};
use super::environment::{Environment, variable};
use super::fault::{Fault, Place};
use super::kind::Kind;
use super::section::Section;
use super::unknown;

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
        self.key = section.path(name);
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
            self.fault(place, &section.path(name), text);
        }
        absent
    }

    /// What was written for a key; the outer `None` when its section cannot be read, which is a
    /// fault already.
    fn written(&self, section: &Section, name: &str) -> Option<Option<Node>> {
        let holds_keys = |node: &Node| matches!(node.shape, Shape::Map(_) | Shape::Null);
        let root = &self.places.root;
        let map = match section.name {
            "" => Some(root),
            name => root.find(name).map(|entry| &entry.value),
        };
        if !holds_keys(root) || map.is_some_and(|map| !holds_keys(map)) {
            return None;
        }
        let entry = map.and_then(|map| map.find(name));
        Some(entry.map(|entry| entry.value.clone()))
    }

    fn entry(&self, section: &Section) -> Option<&Entry> {
        self.places.root.find(section.name)
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
        [name] => ("", *name),
        [section, name] => (*section, *name),
        _ => return Err("names no key; see the reference of the configuration".to_owned()),
    };
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
