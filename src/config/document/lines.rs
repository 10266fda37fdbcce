//! The places of all keys and values of a text, found in one reading.
//!
//! The parser tells a place only with an error, so every key and every value that is no list or map
//! fails on purpose, the place is taken from what the error says, and reading goes on. A list or map
//! cannot go on after that: its place is found by [`super::locate`], or is that of its key.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Line and column, from 1.
type Place = (usize, usize);

/// The places of the keys and values of one text, by their numbers.
#[derive(Debug)]
pub(crate) struct Lines(Vec<Option<Place>>);

impl Lines {
    /// The place of a key, or of a value that is no list or map.
    pub(crate) fn find(&self, number: usize) -> Option<Place> {
        self.0.get(number).copied().flatten()
    }
}

/// Reads the places of a text that [`super::parse_at_most`] has read without a fault.
pub(crate) fn lines(text: &str) -> Lines {
    let found = RefCell::default();
    // What has been found is right even if reading ends early.
    let _ = Probe(&found).deserialize(serde_yaml::Deserializer::from_str(text));
    Lines(found.into_inner())
}

#[derive(Clone, Copy)]
struct Probe<'a>(&'a RefCell<Vec<Option<Place>>>);

impl Probe<'_> {
    /// Gives the next number.
    fn number(self) -> usize {
        let mut found = self.0.borrow_mut();
        found.push(None);
        found.len() - 1
    }

    fn found(self, number: usize, error: &impl fmt::Display) {
        self.0.borrow_mut()[number] = Some(place(&error.to_string()));
    }
}

/// The place that ends the text of an error; only the first one of a file is not told.
fn place(text: &str) -> Place {
    let told = text.rsplit_once(" at line ").and_then(|(_, place)| {
        let (line, column) = place.split_once(" column ")?;
        Some((line.parse().ok()?, column.parse().ok()?))
    });
    told.unwrap_or((1, 1))
}

impl<'de> DeserializeSeed<'de> for Probe<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let number = self.number();
        let met = Cell::new(false);
        let inside = Inside {
            probe: self,
            met: &met,
        };
        match deserializer.deserialize_any(inside) {
            Err(error) if met.get() => {
                self.found(number, &error);
                Ok(())
            }
            other => other,
        }
    }
}

struct KeyProbe<'a>(Probe<'a>);

impl<'de> DeserializeSeed<'de> for KeyProbe<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let number = self.0.number();
        let met = Cell::new(false);
        let inside = Inside {
            probe: self.0,
            met: &met,
        };
        match deserializer.deserialize_str(inside) {
            Err(error) if met.get() => {
                self.0.found(number, &error);
                Ok(())
            }
            other => other,
        }
    }
}

/// Looks into lists and maps, and fails at everything else.
struct Inside<'a> {
    probe: Probe<'a>,
    /// Whether the failure was on purpose.
    met: &'a Cell<bool>,
}

impl Inside<'_> {
    fn fail<E: Error>(self) -> Result<(), E> {
        self.met.set(true);
        Err(E::custom(""))
    }
}

impl<'de> Visitor<'de> for Inside<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.fail()
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        self.fail()
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.fail()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.fail()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.fail()
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<(), E> {
        self.fail()
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<(), E> {
        self.fail()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.fail()
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.fail()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self.probe)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key_seed(KeyProbe(self.probe))?.is_some() {
            map.next_value_seed(self.probe)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{locate, parse};
    use super::*;

    #[test]
    fn one_reading_finds_what_many_find() {
        let text = "a: 1\nb:\n  - {c: \"d\", e: [~, true, 1.5]}\n  - &x two words\n  - *x\n  - []\n  - |\n    x\n  - {}\nlast: -7\n";
        assert!(parse(text).is_ok());
        let lines = lines(text);
        assert_eq!(lines.0.len(), 20);
        let told: Vec<usize> = (0..20).filter(|n| lines.find(*n).is_some()).collect();
        for number in &told {
            assert_eq!(lines.find(*number), locate(text, *number), "{number}");
        }
        assert_eq!(told.len(), 14, "keys and plain values: {lines:?}");
    }
}
