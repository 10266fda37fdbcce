//! Kinds of values: how each is written, read and explained.
//!
//! A [`Scalar`] is one text; [`Optional`], [`List`] and [`Several`] are made of scalars. A new kind
//! of value is one `impl Scalar`.

use std::marker::PhantomData;

use super::document::{Node, Shape};
use super::reading::Reading;

mod a2a;
mod facts;
mod files;
mod issuers;
mod mail;
mod names;
mod schemas;

pub(super) use a2a::{A2aVersion, CardForm};
pub use a2a::{AssumedVersion, LegacyCard};
pub(super) use facts::{
    Bytes, Count, Format, Level, Pace, Paces, Path, Period, Space, Switch, Tries,
};
pub use facts::{DeliveryPath, LogFormat};
pub(super) use files::{
    AuthorityFile, CertificateFile, Credential, DatabaseUrl, Folder, PrivateKeyFile, SealingKey,
    SecretFile, SigningKey,
};
pub(super) use issuers::{AlgorithmName, ClaimText, ExactUrl};
pub(super) use mail::{
    DkimKey, Face, HostName, NextHop, Password, Port, Protection, SecondSelector, SmarthostMode,
    Text,
};
pub use mail::{MailFace, MailServer, MailTls, SmarthostTls};
pub(super) use names::{
    Agent, AgentRef, DomainName, Listener, MailListener, NameServer, Network, SelectorName, Url,
};
pub(super) use schemas::{Registries, SchemaFolder, Unknown};
pub use schemas::{RegistryEntry, UnknownSchemas};

/// Whether a key may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// Not unless it has a default.
    Required,
    /// Then what it is about is off.
    Optional,
}

/// How the value of a key is read.
pub(super) trait Kind {
    type Value;
    const PRESENCE: Presence;
    const STRUCTURED: bool;

    /// What a value is: "a size from 1KiB to 1GiB".
    fn noun() -> String;
    /// A value that fits, as YAML.
    fn example() -> String;
    /// Reads a value; `None` after telling `reading` what is wrong.
    fn read(node: &Node, reading: &mut Reading<'_>) -> Option<Self::Value>;
    /// The value where the key is not set and has no default.
    fn absent() -> Option<Self::Value>;
}

/// A kind that is written as one text.
pub(super) trait Scalar {
    type Value;

    fn noun() -> String;
    fn example() -> &'static str;
    fn parse(text: &str, reading: &Reading<'_>) -> Result<Self::Value, Misfit>;
}

/// Why a text is not of its kind.
pub(super) enum Misfit {
    /// It has another form.
    Form,
    /// For this reason, said after the value.
    Because(String),
    /// For this reason; the value may be a secret and is not shown.
    Unshown(String),
}

impl<S: Scalar> Kind for S {
    type Value = S::Value;
    const PRESENCE: Presence = Presence::Required;
    const STRUCTURED: bool = false;

    fn noun() -> String {
        S::noun()
    }

    fn example() -> String {
        S::example().to_owned()
    }

    fn read(node: &Node, reading: &mut Reading<'_>) -> Option<S::Value> {
        let form = || format!("{}, such as `{}`", S::noun(), S::example());
        let text = match &node.shape {
            Shape::Text(text) => text.clone(),
            Shape::Number(number) => number.clone(),
            Shape::Bool(value) => value.to_string(),
            Shape::List(_) => {
                return reading.refuse(node, format!("is a list, but must be {}", form()));
            }
            Shape::Map(_) => {
                return reading
                    .refuse(node, format!("has keys of its own, but must be {}", form()));
            }
            Shape::Null => {
                let text = format!("has no value; give it {}, or remove the line", form());
                return reading.refuse(node, text);
            }
        };
        match S::parse(&text, reading) {
            Ok(value) => Some(value),
            Err(Misfit::Form) => reading.refuse(node, format!("{text:?} is not {}", form())),
            Err(Misfit::Because(reason)) => reading.refuse(node, format!("{text:?} {reason}")),
            Err(Misfit::Unshown(reason)) => reading.refuse(node, reason),
        }
    }

    fn absent() -> Option<S::Value> {
        None
    }
}

/// A kind that may be left out.
pub(super) struct Optional<S>(PhantomData<S>);

impl<S: Scalar> Kind for Optional<S> {
    type Value = Option<S::Value>;
    const PRESENCE: Presence = Presence::Optional;
    const STRUCTURED: bool = false;

    fn noun() -> String {
        S::noun()
    }

    fn example() -> String {
        S::example().to_owned()
    }

    fn read(node: &Node, reading: &mut Reading<'_>) -> Option<Self::Value> {
        <S as Kind>::read(node, reading).map(Some)
    }

    fn absent() -> Option<Self::Value> {
        Some(None)
    }
}

/// Any number of values.
pub(super) struct List<S>(PhantomData<S>);

impl<S: Scalar> Kind for List<S> {
    type Value = Vec<S::Value>;
    const PRESENCE: Presence = Presence::Required;
    const STRUCTURED: bool = true;

    fn noun() -> String {
        format!("a list, each {}", S::noun())
    }

    fn example() -> String {
        format!("[{:?}]", S::example())
    }

    fn read(node: &Node, reading: &mut Reading<'_>) -> Option<Self::Value> {
        let Shape::List(items) = &node.shape else {
            let text = format!("must be a list, such as `{}`", Self::example());
            return reading.refuse(node, text);
        };
        let read = |item| <S as Kind>::read(item, reading);
        // Every item is looked at before one that failed fails the list.
        let values: Vec<Option<S::Value>> = items.iter().map(read).collect();
        values.into_iter().collect()
    }

    fn absent() -> Option<Self::Value> {
        None
    }
}

/// One value or more.
pub(super) struct Several<S>(PhantomData<S>);

impl<S: Scalar> Kind for Several<S> {
    type Value = Vec<S::Value>;
    const PRESENCE: Presence = Presence::Required;
    const STRUCTURED: bool = true;

    fn noun() -> String {
        format!("a list of at least one, each {}", S::noun())
    }

    fn example() -> String {
        List::<S>::example()
    }

    fn read(node: &Node, reading: &mut Reading<'_>) -> Option<Self::Value> {
        let values = List::<S>::read(node, reading)?;
        if values.is_empty() {
            let text = format!("is empty; name at least one, such as `{}`", Self::example());
            return reading.refuse(node, text);
        }
        Some(values)
    }

    fn absent() -> Option<Self::Value> {
        None
    }
}
