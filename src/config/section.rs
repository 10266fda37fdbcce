//! Sections and their keys: one table each, from which everything else follows.
//!
//! `section!` turns one list of keys into the typed struct, the code that reads it, and [`Section`],
//! the table behind the search for unknown keys, the reference page and the file `init` writes.

use super::kind::{Kind, Presence};

/// The step that stands for any domain in the name of a section.
pub(super) const DOMAIN: &str = "DOMAIN";

/// A section of the file; the keys at the top level are one without a name.
pub(super) struct Section {
    /// A path of keys, such as `delivery.retry`. Its last step may be [`DOMAIN`]: then there is one
    /// such section for each domain.
    pub(super) name: &'static str,
    /// What it is for.
    pub(super) about: &'static [&'static str],
    pub(super) keys: &'static [Key],
}

/// A key of a section.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) doc: &'static [&'static str],
    pub(super) default: Option<&'static str>,
    pub(super) presence: Presence,
    /// What a value is, in words.
    pub(super) noun: fn() -> String,
    pub(super) example: fn() -> String,
    /// Whether a value is YAML and not a plain text.
    pub(super) structured: bool,
}

impl Key {
    pub(super) const fn of<K: Kind>(
        name: &'static str,
        doc: &'static [&'static str],
        default: Option<&'static str>,
    ) -> Self {
        Self {
            name,
            doc,
            default,
            presence: K::PRESENCE,
            noun: K::noun,
            example: K::example,
            structured: K::STRUCTURED,
        }
    }

    /// Whether the configuration is incomplete without it.
    pub(super) fn is_required(&self) -> bool {
        self.default.is_none() && self.presence == Presence::Required
    }
}

impl Section {
    pub(super) fn find(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The map of domains it stands in, if it is one of many.
    pub(super) fn map(&self) -> Option<&'static str> {
        self.name.strip_suffix(DOMAIN)?.strip_suffix('.')
    }

    /// A key as it is named in faults: `limits.message_size`.
    pub(super) fn path(&self, key: &str) -> String {
        match (self.name, key) {
            ("", key) => key.to_owned(),
            (section, "") => section.to_owned(),
            (section, key) => format!("{section}.{key}"),
        }
    }
}

/// Declares a section: the struct, its table and how it is read. A field is written
/// `name: Type as Kind`, with `= "default"` unless it is required, and with its key before it
/// where the field is named otherwise.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $vis:vis struct $Section:ident = $name:literal {
            $(
                $(#[doc = $doc:literal])+
                $($key:literal)? $field:ident: $type:ty as $kind:ty $(= $default:literal)?
            ),* $(,)?
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone)]
        $vis struct $Section {
            $(
                $(#[doc = $doc])+
                pub $field: $type,
            )*
        }

        impl $Section {
            pub(in crate::config) const TABLE: $crate::config::section::Section =
                $crate::config::section::Section {
                    name: $name,
                    about: &[$($about),+],
                    keys: &[$(
                        $crate::config::section::Key::of::<$kind>(
                            $crate::config::section::first!($($key,)? stringify!($field)),
                            &[$($doc),+],
                            $crate::config::section::optional!($($default)?),
                        )
                    ),*],
                };

            /// Reads every key, so that every fault is found; `None` after a fault.
            #[allow(unused_variables, reason = "a section may have no keys yet")]
            pub(in crate::config) fn read(
                reading: &mut $crate::config::reading::Reading<'_>,
            ) -> Option<Self> {
                $(
                    let $field: Option<$type> = reading.key::<$kind>(
                        &Self::TABLE,
                        $crate::config::section::first!($($key,)? stringify!($field)),
                    );
                )*
                Some(Self { $($field: $field?),* })
            }
        }
    };
}

macro_rules! first {
    ($first:expr $(, $rest:expr)?) => {
        $first
    };
}

macro_rules! optional {
    () => {
        None
    };
    ($value:expr) => {
        Some($value)
    };
}

pub(super) use {first, optional, section};
