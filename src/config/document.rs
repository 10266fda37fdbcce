//! YAML text as a tree in which every key and value knows its place.
//!
//! The parser gives places only with its errors. So each key and value gets a number in reading
//! order, and the place of a number is found by reading again and failing on purpose when that
//! number is reached. That costs one more reading a fault, and is right for block and flow style,
//! quotes, anchors and comments, because the parser itself says where it is.

use std::cell::Cell;
use std::fmt;

mod lines;

pub(crate) use lines::{Lines, lines};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Where a key or value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The so-manieth key or value of the text.
    Text(usize),
    /// An environment variable.
    Variable(String),
    /// Nobody wrote it.
    Nowhere,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) origin: Origin,
    pub(crate) shape: Shape,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Nothing was written.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as it reads back.
    Number(String),
    /// A text.
    Text(String),
    /// Items in order.
    List(Vec<Node>),
    /// Entries in order; a key may stand twice.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) origin: Origin,
    pub(crate) key: String,
    pub(crate) value: Node,
}

/// Why a text is no YAML, and where: line and column from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) text: String,
    pub(crate) place: Option<(usize, usize)>,
}

impl Node {
    pub(crate) fn new(origin: Origin, shape: Shape) -> Self {
        Self { origin, shape }
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.shape {
            Shape::Map(entries) => entries,
            _ => &[],
        }
    }

    pub(crate) fn find(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The value under a path such as `limits.recipients`. A key may have dots of its own.
    pub(super) fn at(&self, path: &str) -> Option<&Self> {
        self.entries().iter().find_map(|entry| {
            let rest = path.strip_prefix(entry.key.as_str())?;
            match rest.strip_prefix('.') {
                Some(rest) => entry.value.at(rest),
                None => rest.is_empty().then_some(&entry.value),
            }
        })
    }

    /// The entries, to change them.
    pub(super) fn entries_mut(&mut self) -> &mut [Entry] {
        match &mut self.shape {
            Shape::Map(entries) => entries,
            _ => &mut [],
        }
    }

    fn find_mut(&mut self, key: &str) -> Option<&mut Self> {
        let mut entries = self.entries_mut().iter_mut();
        let entry = entries.find(|entry| entry.key == key)?;
        Some(&mut entry.value)
    }

    /// Puts a value in the place of whatever stands under the key; `false` if this is no map.
    pub(super) fn put(&mut self, key: &str, value: Self) -> bool {
        if self.shape == Shape::Null {
            self.shape = Shape::Map(Vec::new());
        }
        let Shape::Map(entries) = &mut self.shape else {
            return false;
        };
        entries.retain(|entry| entry.key != key);
        let origin = value.origin.clone();
        let key = key.to_owned();
        entries.push(Entry { origin, key, value });
        true
    }

    /// The map under a key, made if there is nothing.
    pub(super) fn section(&mut self, key: &str) -> Option<&mut Self> {
        if self.find(key).is_none() {
            self.put(key, Self::new(Origin::Nowhere, Shape::Map(Vec::new())));
        }
        self.find_mut(key)
    }

    /// The value under a path, to change it.
    pub(super) fn at_mut(&mut self, path: &str) -> Option<&mut Self> {
        path.split('.').try_fold(self, Self::find_mut)
    }
}

/// Reads one document.
pub(super) fn parse(text: &str) -> Result<Node, Unreadable> {
    parse_at_most(text, usize::MAX)
}

/// Reads one document of at most `most` keys and values, aliases counted where they stand.
pub(crate) fn parse_at_most(text: &str, most: usize) -> Result<Node, Unreadable> {
    let counter = Counter::new(None, most);
    NodeSeed(&counter)
        .deserialize(serde_yaml::Deserializer::from_str(text))
        .map_err(|error| unreadable(&error))
}

/// Line and column, from 1, of a key or value of `text`.
pub(crate) fn locate(text: &str, number: usize) -> Option<(usize, usize)> {
    let counter = Counter::new(Some(number), usize::MAX);
    let read = NodeSeed(&counter).deserialize(serde_yaml::Deserializer::from_str(text));
    place(&read.err()?)
}

fn place(error: &serde_yaml::Error) -> Option<(usize, usize)> {
    let location = error.location()?;
    Some((location.line(), location.column()))
}

fn unreadable(error: &serde_yaml::Error) -> Unreadable {
    let text = error.to_string();
    let end = text.find(" at line ").unwrap_or(text.len());
    Unreadable {
        text: text[..end].to_owned(),
        place: place(error),
    }
}

struct Counter {
    next: Cell<usize>,
    stop: Option<usize>,
    most: usize,
}

impl Counter {
    const fn new(stop: Option<usize>, most: usize) -> Self {
        let next = Cell::new(0);
        Self { next, stop, most }
    }

    fn take<E: Error>(&self) -> Result<Origin, E> {
        let number = self.next.get();
        self.next.set(number + 1);
        if self.stop == Some(number) {
            return Err(E::custom("here"));
        }
        if number >= self.most {
            let text = format!("more than {} keys and values, aliases counted", self.most);
            return Err(E::custom(text));
        }
        Ok(Origin::Text(number))
    }
}

#[derive(Clone, Copy)]
struct NodeSeed<'a>(&'a Counter);

impl NodeSeed<'_> {
    fn node<E: Error>(self, shape: Shape) -> Result<Node, E> {
        Ok(Node::new(self.0.take()?, shape))
    }
}

impl<'de> DeserializeSeed<'de> for NodeSeed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NodeSeed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value without a tag")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        self.node(Shape::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        self.node(Shape::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        self.node(Shape::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        self.node(Shape::Number(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        self.node(Shape::Number(value.to_string()))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Node, E> {
        self.node(Shape::Number(value.to_string()))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Node, E> {
        self.node(Shape::Number(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        self.node(Shape::Number(value.to_string()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        self.node(Shape::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut node = self.node(Shape::Null)?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        node.shape = Shape::List(list);
        Ok(node)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut node = self.node(Shape::Null)?;
        let mut entries = Vec::new();
        while let Some((origin, key)) = map.next_key_seed(KeySeed(self.0))? {
            let value = map.next_value_seed(self)?;
            entries.push(Entry { origin, key, value });
        }
        node.shape = Shape::Map(entries);
        Ok(node)
    }
}

struct KeySeed<'a>(&'a Counter);

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = (Origin, String);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = (Origin, String);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok((self.0.take()?, key.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place_of(text: &str, origin: &Origin) -> Option<(usize, usize)> {
        match origin {
            Origin::Text(number) => locate(text, *number),
            _ => None,
        }
    }

    const TEXT: &str = "\
# a comment
a:
  b: one   # another
  c: [x, {d: y}]
  \"quoted key\": |
    text with a: colon
    and a second line
  e:
    - 1
    -
      f: true
g: {h: i, j: k}
";

    #[test]
    fn keys_and_values_know_their_line_in_block_and_flow_style() {
        let root = parse(TEXT).unwrap();
        let a = &root.find("a").unwrap().value;
        let g = &root.find("g").unwrap().value;
        let Shape::List(items) = &a.find("e").unwrap().value.shape else {
            panic!("a list");
        };
        let Shape::List(flow) = &a.find("c").unwrap().value.shape else {
            panic!("a list");
        };
        let table = [
            (&root.find("a").unwrap().origin, (2, 1)),
            (&a.find("b").unwrap().origin, (3, 3)),
            (&a.find("b").unwrap().value.origin, (3, 6)),
            (&flow[1].find("d").unwrap().value.origin, (4, 14)),
            (&a.find("quoted key").unwrap().origin, (5, 3)),
            (&a.find("e").unwrap().origin, (8, 3)),
            (&items[0].origin, (9, 7)),
            (&items[1].find("f").unwrap().value.origin, (11, 10)),
            (&g.find("j").unwrap().origin, (12, 11)),
            (&g.find("j").unwrap().value.origin, (12, 14)),
        ];
        for (origin, place) in table {
            assert_eq!(place_of(TEXT, origin), Some(place), "{origin:?}");
        }
    }

    #[test]
    fn a_key_that_stands_twice_is_kept_twice() {
        let root = parse("a: 1\na: 2\n").unwrap();
        assert_eq!(root.entries().len(), 2);
    }

    #[test]
    fn what_is_no_yaml_says_where() {
        for (text, place) in [
            ("a: b\nc: [d\ne: f\n", (3, 2)),
            ("a: !secret x\n", (1, 4)),
            ("\tb: 1\n", (1, 1)),
            ("a: *nobody\n", (1, 4)),
        ] {
            let fault = parse(text).unwrap_err();
            assert_eq!(fault.place, Some(place), "{text}: {fault:?}");
        }
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (name, last) in ('b'..='l').zip('a'..='k') {
            let items = vec![format!("*{last}"); 9].join(", ");
            text += &format!("{name}: &{name} [{items}]\n");
        }
        assert!(parse(&text).unwrap_err().text.contains("repetition"));
    }
}
