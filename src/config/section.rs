//! Sections and their keys: one table each, from which everything else follows.
//!
//! `section!` turns one list of keys into the typed struct, the code that reads it, and [`Section`],
//! the table behind the search for unknown keys, the reference page and the file `init` writes.
//!
//! A section inside another one has a dot in its name (`delivery.retry`). One that stands once for
//! each domain has the step [`EACH`] (`peers.DOMAIN`); the map of these is a section without keys.

use super::kind::{Kind, Presence};

/// The step of a section's name that stands for any domain.
pub(super) const EACH: &str = "DOMAIN";

/// What is written for [`EACH`] in examples.
const ANY_DOMAIN: &str = "partner.example";

/// A section of the file; the keys at the top level are one without a name.
pub(super) struct Section {
    /// The steps from the top level, with dots between.
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

    /// A key as the reference names it: `limits.message_size`.
    pub(super) fn path(&self, key: &str) -> String {
        join(self.name, key)
    }

    /// The steps to it from the top level.
    pub(super) fn steps(&self) -> impl Iterator<Item = &'static str> {
        self.name.split('.').filter(|step| !step.is_empty())
    }

    /// The last step to it.
    pub(super) fn step(&self) -> &'static str {
        self.steps().last().unwrap_or_default()
    }

    /// The last step to it in an example.
    pub(super) fn sample(&self) -> &'static str {
        match self.step() {
            EACH => ANY_DOMAIN,
            step => step,
        }
    }

    /// The map that has this section once for each domain: `peers` of `peers.DOMAIN`.
    pub(super) fn map(&self) -> Option<&'static str> {
        self.name.strip_suffix(EACH)?.strip_suffix('.')
    }

    /// The sections directly inside it.
    pub(super) fn inner<'a>(
        &'a self,
        sections: &'a [&'static Self],
    ) -> impl Iterator<Item = &'static Self> + 'a {
        let parent = |section: &Self| section.name.rsplit_once('.').map_or("", |(name, _)| name);
        let inside =
            move |section: &&Self| !section.name.is_empty() && parent(section) == self.name;
        sections.iter().copied().filter(inside)
    }
}

/// A path with one more step; the path of the top level is empty.
pub(super) fn join(path: &str, step: &str) -> String {
    let dot = if path.is_empty() || step.is_empty() {
        ""
    } else {
        "."
    };
    format!("{path}{dot}{step}")
}

/// Declares a section: the struct, its table and how it is read. A field is written
/// `name: Type as Kind`, with `= "default"` unless it is required, and with its key before it
/// where the field is named otherwise. The sections inside it follow after `with`.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $vis:vis struct $Section:ident = $name:literal {
            $(
                $(#[doc = $doc:literal])+
                $($key:literal)? $field:ident: $type:ty as $kind:ty $(= $default:literal)?
            ),* $(,)?
        } $(with {
            $(
                $(#[doc = $inner_doc:literal])+
                $inner:ident: $Inner:ty
            ),+ $(,)?
        })?
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone)]
        $vis struct $Section {
            $(
                $(#[doc = $doc])+
                pub $field: $type,
            )*
            $($(
                $(#[doc = $inner_doc])+
                pub $inner: $Inner,
            )+)?
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
                $($(let $inner = <$Inner>::read(reading);)+)?
                Some(Self {
                    $($field: $field?,)*
                    $($($inner: $inner?,)+)?
                })
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
