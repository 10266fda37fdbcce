//! The version and the extensions that a client names (A2A 1.0, sections 3.6 and 4.6).

use super::error::{A2aError, Kind};
use super::method::Speaker;
use crate::task::bounds::MOST_NAMES;

/// The versions that are spoken here.
const SPOKEN: &str = "1.0, 0.3";

/// The version that a client names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::endpoint::a2a) enum Asked {
    /// None, which means 0.3.
    Nothing,
    /// `Major.Minor`; a third number does not count.
    Version(u32, u32),
    /// No version.
    Unreadable(String),
}

impl Asked {
    /// The version of the header `A2A-Version`, else of the parameter of the same name.
    pub(in crate::endpoint::a2a) fn read(header: Option<&str>, parameter: Option<&str>) -> Self {
        let said = |text: Option<&str>| {
            let text = text.map(str::trim);
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let Some(text) = said(header).or_else(|| said(parameter)) else {
            return Self::Nothing;
        };
        let numbers: Option<Vec<u32>> = text.split('.').map(|it| it.parse().ok()).collect();
        match numbers.as_deref() {
            Some([major, minor] | [major, minor, _]) => Self::Version(*major, *minor),
            _ => Self::Unreadable(text.chars().take(20).collect()),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Nothing => "0.3".to_owned(),
            Self::Version(major, minor) => format!("{major}.{minor}"),
            Self::Unreadable(text) => text.clone(),
        }
    }
}

/// Whether a client that names no version, or 0.3, may use what belongs to 1.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::endpoint::a2a) enum Assume {
    /// It may not.
    #[default]
    Strict,
    /// Who names none is taken to speak 1.0.
    Newest,
}

/// Whether a client that names this version may speak so.
pub(in crate::endpoint::a2a) fn check(
    speaker: Speaker,
    asked: &Asked,
    assume: Assume,
) -> Result<(), A2aError> {
    match (speaker.is_v1(), asked) {
        (true, Asked::Version(1, 0)) => Ok(()),
        (true, Asked::Nothing) if assume == Assume::Newest => Ok(()),
        (false, Asked::Nothing | Asked::Version(0, _)) => Ok(()),
        (false, Asked::Version(1, 0)) => Err(A2aError::new(
            Kind::MethodNotFound,
            "this method does not exist in A2A 1.0",
        )),
        (_, asked) => Err(unsupported(asked)),
    }
}

fn unsupported(asked: &Asked) -> A2aError {
    let asked = asked.text();
    let text = format!(
        "version {asked} is not supported for this operation; there are {SPOKEN}, named by A2A-Version"
    );
    A2aError::new(Kind::VersionNotSupported, text)
        .with("requestedVersion", asked)
        .with("supportedVersions", SPOKEN)
}

/// The URIs of the header `A2A-Extensions`, which may come several times.
pub(in crate::endpoint::a2a) fn extensions<'a>(
    headers: impl Iterator<Item = &'a str>,
) -> Vec<String> {
    let uris = headers.flat_map(|header| header.split(','));
    let uris = uris.map(str::trim).filter(|uri| !uri.is_empty());
    let mut found: Vec<String> = Vec::new();
    for uri in uris.take(MOST_NAMES) {
        if !found.iter().any(|other| other == uri) {
            found.push(uri.to_owned());
        }
    }
    found
}

/// The extensions of a card that a client names: each as its URI, and whether it must be named.
///
/// What the card does not have is left out. Nothing stands for an extension but its own URI, with
/// its version.
pub(in crate::endpoint::a2a) fn active<'a>(
    requested: &[String],
    card: impl Iterator<Item = (&'a str, bool)>,
) -> Result<Vec<String>, A2aError> {
    let mut active = Vec::new();
    for (uri, required) in card {
        if requested.iter().any(|it| it == uri) {
            active.push(uri.to_owned());
        } else if required {
            let text = format!("the extension {uri} must be named in A2A-Extensions");
            return Err(A2aError::new(Kind::ExtensionRequired, text).with("extension", uri));
        }
    }
    Ok(active)
}
