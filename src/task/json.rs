//! JSON as ProtoJSON writers send it, read without losing a digit.
//!
//! - Names are read in lowerCamelCase and in snake_case; `null` is the same as absent; whole numbers
//!   may come as text; bytes in either alphabet of base64, padded or not.
//! - What is not looked at is not touched: a payload is kept as its text ([`Json`]), without line
//!   breaks, so that it fits in one line of an event stream.
//! - Every fault says at which field it is.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::bounds::{DEEPEST, LONGEST_NAME};
use crate::protocol::Timestamp;
use crate::protocol::json::{Member, items, scan_object, string_of};

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct Fault {
    /// Where: `message.parts[0].text`.
    pub field: String,
    /// What, after the name of the field: `must be text`.
    pub problem: String,
}

impl Fault {
    /// A fault at a field.
    pub fn new(field: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self {
            field: field.into(),
            problem: problem.to_string(),
        }
    }
}

/// The text of a JSON value, without blanks between its signs.
#[derive(Debug, Clone)]
pub struct Json(Box<RawValue>);

impl Json {
    /// Keeps a value.
    ///
    /// # Errors
    /// It is no JSON, or nested deeper than [`DEEPEST`].
    pub fn read(text: &str) -> Result<Self, &'static str> {
        let compact = compact(text).ok_or("is nested too deep")?;
        RawValue::from_string(compact)
            .map(Self)
            .map_err(|_| "is no JSON")
    }

    /// The JSON of a value of ours.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Self {
        let raw = serde_json::value::to_raw_value(value);
        Self(raw.expect("our values have text for names and nothing that fails"))
    }

    /// The text.
    #[must_use]
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// The member of this name of an object.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<String> {
        let members = scan_object(self.get().as_bytes()).ok()?;
        let (_, place) = members.into_iter().find(|(other, _)| other == name)?;
        Some(self.get()[place].to_owned())
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for Json {}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// The text without blanks outside strings; nothing where it is nested too deep.
fn compact(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for sign in text.chars() {
        if quoted {
            quoted = escaped || sign != '"';
            escaped = !escaped && sign == '\\';
        } else {
            match sign {
                ' ' | '\t' | '\r' | '\n' => continue,
                '"' => quoted = true,
                '{' | '[' => depth += 1,
                '}' | ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > DEEPEST {
                return None;
            }
        }
        out.push(sign);
    }
    Some(out)
}

/// A value at its place in a document.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    raw: &'a str,
    path: String,
}

impl<'a> Place<'a> {
    /// A whole document; `path` is how faults name it, empty for the top.
    pub fn top(raw: &'a str, path: impl Into<String>) -> Self {
        Self {
            raw: raw.trim_matches([' ', '\t', '\r', '\n']),
            path: path.into(),
        }
    }

    /// The text of the value.
    #[must_use]
    pub const fn raw(&self) -> &'a str {
        self.raw
    }

    /// A fault here.
    pub fn fault(&self, problem: impl fmt::Display) -> Fault {
        Fault::new(self.path.clone(), problem)
    }

    /// An object.
    ///
    /// # Errors
    /// It is none.
    pub fn object(&self) -> Result<Object<'a>, Fault> {
        let members = scan_object(self.raw.as_bytes());
        Ok(Object {
            members: members.map_err(|_| self.fault("must be an object"))?,
            text: self.raw,
            path: self.path.clone(),
        })
    }

    /// The items of an array, at most `most`.
    ///
    /// # Errors
    /// It is none, or has more.
    pub fn list(&self, most: usize) -> Result<Vec<Place<'a>>, Fault> {
        let found = items(self.raw).ok_or_else(|| self.fault("must be an array"))?;
        let mut places = Vec::new();
        for (index, raw) in found.enumerate() {
            if index == most {
                return Err(self.fault(format_args!("must have at most {most} elements")));
            }
            let path = format!("{}[{index}]", self.path);
            places.push(Place { raw, path });
        }
        Ok(places)
    }

    /// Text.
    ///
    /// # Errors
    /// It is none.
    pub fn text(&self) -> Result<Cow<'a, str>, Fault> {
        string_of(self.raw).ok_or_else(|| self.fault("must be text"))
    }

    /// A short text: an id, a name, a word.
    ///
    /// # Errors
    /// It is none, or is longer than [`LONGEST_NAME`] bytes.
    pub fn name(&self) -> Result<String, Fault> {
        self.bounded(LONGEST_NAME)
    }

    /// Text of at most so many bytes.
    ///
    /// # Errors
    /// It is none, or is longer.
    pub fn bounded(&self, most: usize) -> Result<String, Fault> {
        let text = self.text()?;
        if text.len() > most {
            return Err(self.fault(format_args!("must have at most {most} bytes")));
        }
        Ok(text.into_owned())
    }

    /// A whole number, also as text.
    ///
    /// # Errors
    /// It is none, or has more than 32 bits.
    pub fn int(&self) -> Result<i32, Fault> {
        let text = string_of(self.raw);
        let text = text.as_deref().unwrap_or(self.raw);
        let whole = text.parse::<i32>().ok().or_else(|| {
            let number = text.parse::<f64>().ok()?;
            let fits = number.fract() == 0.0 && number.abs() <= f64::from(i32::MAX);
            #[allow(clippy::cast_possible_truncation, reason = "it is whole and fits")]
            fits.then_some(number as i32)
        });
        whole.ok_or_else(|| self.fault("must be a whole number"))
    }

    /// Yes or no.
    ///
    /// # Errors
    /// It is neither.
    pub fn flag(&self) -> Result<bool, Fault> {
        match self.raw {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.fault("must be true or false")),
        }
    }

    /// A moment in RFC 3339, with any offset.
    ///
    /// # Errors
    /// It is none.
    pub fn moment(&self) -> Result<Timestamp, Fault> {
        let text = self.text()?;
        Timestamp::parse_rfc3339(&text).map_err(|fault| self.fault(fault))
    }

    /// Bytes in base64, answered in the usual alphabet with padding.
    ///
    /// # Errors
    /// It is none.
    pub fn base64(&self) -> Result<String, Fault> {
        let text = self.text()?;
        let bytes = lenient(&text).ok_or_else(|| self.fault("must be base64"))?;
        Ok(STANDARD.encode(bytes))
    }

    /// The value as it is.
    ///
    /// # Errors
    /// It is nested too deep.
    pub fn json(&self) -> Result<Json, Fault> {
        Json::read(self.raw).map_err(|problem| self.fault(problem))
    }

    /// An object as it is: what stands under `metadata`.
    ///
    /// # Errors
    /// It is none.
    pub fn json_object(&self) -> Result<Json, Fault> {
        if !self.raw.starts_with('{') {
            return Err(self.fault("must be an object"));
        }
        self.json()
    }
}

/// Base64 in either alphabet, padded or not.
fn lenient(text: &str) -> Option<Vec<u8>> {
    let alphabet = match text.contains(['-', '_']) {
        true => &alphabet::URL_SAFE,
        false => &alphabet::STANDARD,
    };
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(alphabet, config).decode(text).ok()
}

/// An object at its place in a document.
#[derive(Debug, Clone)]
pub struct Object<'a> {
    text: &'a str,
    members: Vec<Member<'a>>,
    path: String,
}

impl<'a> Object<'a> {
    /// The value of a name, in camelCase or in snake_case; nothing for `null`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Place<'a>> {
        self.present(name).filter(|place| place.raw != "null")
    }

    /// The same, but `null` is a value.
    #[must_use]
    pub fn present(&self, name: &str) -> Option<Place<'a>> {
        let find = |wanted: &str| self.members.iter().find(|(other, _)| other == wanted);
        let (_, range) = find(name).or_else(|| find(&snake(name)))?;
        Some(Place {
            raw: &self.text[range.clone()],
            path: self.under(name),
        })
    }

    /// The value of a name that must be there.
    ///
    /// # Errors
    /// It is not.
    pub fn required(&self, name: &str) -> Result<Place<'a>, Fault> {
        self.get(name)
            .ok_or_else(|| self.fault(name, "is required"))
    }

    /// The items of a list, none where it is absent.
    ///
    /// # Errors
    /// It is no list, or has more than `most`.
    pub fn list(&self, name: &str, most: usize) -> Result<Vec<Place<'a>>, Fault> {
        self.get(name).map_or(Ok(Vec::new()), |it| it.list(most))
    }

    /// Short texts, none where the list is absent.
    ///
    /// # Errors
    /// It is no list of texts, or has more than `most`.
    pub fn names(&self, name: &str, most: usize) -> Result<Vec<String>, Fault> {
        self.list(name, most)?.iter().map(Place::name).collect()
    }

    /// A short text that is not empty; nothing where it is absent or empty.
    ///
    /// # Errors
    /// It is no text, or too long.
    pub fn name(&self, name: &str) -> Result<Option<String>, Fault> {
        self.bounded(name, LONGEST_NAME)
    }

    /// Text of at most so many bytes that is not empty; nothing where it is absent or empty.
    ///
    /// # Errors
    /// It is no text, or longer.
    pub fn bounded(&self, name: &str, most: usize) -> Result<Option<String>, Fault> {
        let found = self.get(name).map(|it| it.bounded(most)).transpose()?;
        Ok(found.filter(|text| !text.is_empty()))
    }

    /// A short text that must be there.
    ///
    /// # Errors
    /// It is not, or is no text, or too long.
    pub fn required_name(&self, name: &str) -> Result<String, Fault> {
        self.name(name)?
            .ok_or_else(|| self.fault(name, "is required"))
    }

    /// A fault of a member.
    pub fn fault(&self, name: &str, problem: impl fmt::Display) -> Fault {
        Fault::new(self.under(name), problem)
    }

    /// Where this object is.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    fn under(&self, name: &str) -> String {
        match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        }
    }
}

/// `contextId` as `context_id`.
fn snake(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for sign in name.chars() {
        if sign.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(sign.to_ascii_lowercase());
    }
    out
}
