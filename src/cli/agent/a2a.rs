//! Options of `agent add` and `agent set` for agents as A2A servers.

use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Access {
    Public,
    Authenticated,
    AllowList,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Profile {
    Envelope,
    Plain,
}

#[derive(Debug, Args)]
pub(super) struct A2a {
    /// Who may call it by A2A
    #[arg(long, value_enum)]
    a2a_access: Option<Access>,
    /// A caller on its list, name@domain or *@domain; may be repeated, and takes the place of those before
    #[arg(long, value_name = "ADDRESS")]
    a2a_allow: Vec<String>,
    /// What its messages of A2A clients look like: the whole A2A message, or text or data alone
    #[arg(long, value_enum)]
    a2a_profile: Option<Profile>,
    /// After how many seconds a task of A2A that has not ended fails
    #[arg(long, value_name = "SECONDS")]
    a2a_deadline: Option<u64>,
}

impl A2a {
    /// Adds the members of the form that were given.
    pub(super) fn add_to(&self, form: &mut Map<String, Value>) {
        let allow = match (&self.a2a_access, self.a2a_allow.is_empty()) {
            (_, false) => Some(Value::from(self.a2a_allow.clone())),
            // The list goes with the access that needs it.
            (Some(Access::Public | Access::Authenticated), true) => Some(Value::Null),
            _ => None,
        };
        let members = [
            ("access", self.a2a_access.as_ref().map(word)),
            ("allow", allow),
            ("profile", self.a2a_profile.as_ref().map(word)),
            ("deadline_seconds", self.a2a_deadline.map(Value::from)),
        ];
        let members = members.into_iter();
        let members: Map<String, Value> = members
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect();
        if !members.is_empty() {
            form.insert("a2a".to_owned(), Value::Object(members));
        }
    }
}

/// The word of an option's value, which the API knows too.
fn word(value: &impl ValueEnum) -> Value {
    let name = value.to_possible_value();
    name.map_or(Value::Null, |name| Value::from(name.get_name()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        a2a: A2a,
    }

    #[test]
    fn options_become_members_of_the_form() {
        for (line, expected) in [
            (&[][..], json!({})),
            (
                &["--a2a-access", "public", "--a2a-profile", "plain"],
                json!({"a2a": {"access": "public", "allow": null, "profile": "plain"}}),
            ),
            (
                &["--a2a-access", "allow-list", "--a2a-allow", "*@a.test"],
                json!({"a2a": {"access": "allow-list", "allow": ["*@a.test"]}}),
            ),
            (
                &["--a2a-deadline", "60"],
                json!({"a2a": {"deadline_seconds": 60}}),
            ),
        ] {
            let line = Line::try_parse_from(["x"].iter().chain(line)).unwrap();
            let mut form = Map::new();
            line.a2a.add_to(&mut form);
            assert_eq!(Value::Object(form), expected);
        }
    }
}
