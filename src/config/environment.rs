//! The environment as it was when the process started: overrides of keys, and secrets.

use std::collections::BTreeMap;
use std::fmt;

/// What every variable that sets a key begins with, in any case.
const PREFIX: &str = "AMTPD__";

/// A copy of the environment. Tests make one of pairs.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The environment of this process. Bytes outside UTF-8 are replaced.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "config reads the environment")]
    pub fn of_process() -> Self {
        Self::of_pairs(std::env::vars_os().map(|(name, value)| {
            let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
            (text(name), text(value))
        }))
    }

    /// An environment of these variables only.
    pub fn of_pairs<N: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let pairs = pairs.into_iter();
        Self(pairs.map(|(n, v)| (n.into(), v.into())).collect())
    }

    /// The value of a variable.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The variables that set keys: name, path in lower case, value.
    pub(super) fn overrides(&self) -> impl Iterator<Item = (&str, Vec<String>, &str)> {
        self.0.iter().filter_map(|(name, value)| {
            let head = name.get(..PREFIX.len())?;
            let path = head
                .eq_ignore_ascii_case(PREFIX)
                .then(|| name[PREFIX.len()..].to_ascii_lowercase())?;
            let steps = path.split("__").map(str::to_owned).collect();
            Some((name.as_str(), steps, value.as_str()))
        })
    }
}

/// The variable that sets a key, such as `AMTPD__LIMITS__MESSAGE_SIZE`.
pub(super) fn variable(section: &str, key: &str) -> String {
    let section = section.to_ascii_uppercase().replace('.', "__");
    let gap = if section.is_empty() { "" } else { "__" };
    format!("{PREFIX}{section}{gap}{}", key.to_ascii_uppercase())
}

/// Names only: values may be secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_are_found_in_any_case_and_nothing_else_is() {
        let environment = Environment::of_pairs([
            ("AMTPD__LIMITS__MESSAGE_SIZE", "1MiB"),
            ("amtpd__postmaster", "ops"),
            ("AMTP_KEY", "x"),
            ("AMTPD_", "x"),
            ("ÄMTPD__X", "x"),
        ]);
        let found: Vec<_> = environment.overrides().map(|(_, path, _)| path).collect();
        assert_eq!(found, [vec!["limits", "message_size"], vec!["postmaster"]]);
    }

    #[test]
    fn a_variable_reads_back_as_its_key() {
        assert_eq!(
            variable("limits", "recipients"),
            "AMTPD__LIMITS__RECIPIENTS"
        );
        assert_eq!(variable("", "domains"), "AMTPD__DOMAINS");
        assert_eq!(
            variable("delivery.retry", "give_up"),
            "AMTPD__DELIVERY__RETRY__GIVE_UP"
        );
    }

    #[test]
    fn values_are_not_printed() {
        let environment = Environment::of_pairs([("KEY", "hidden")]);
        assert_eq!(format!("{environment:?}"), r#"{"KEY"}"#);
    }
}
