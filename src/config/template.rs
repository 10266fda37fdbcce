//! The configuration file that `amtpd init` writes: every key with its meaning, what is not given
//! as a comment with its default.

use std::fmt::Write as _;

use super::SECTIONS;
use super::reference::prose;
use super::section::{Key, Section};

const WIDTH: usize = 96;
/// Sections without required keys that turn something on by standing there.
const SWITCHES: [&str; 1] = ["a2a"];

/// A commented file in which these keys are set, each given as its path (`listen.https`) with its
/// value as YAML.
#[must_use]
pub fn template(given: &[(&str, String)]) -> String {
    let mut file =
        "# Configuration of amtpd. Check it with `amtpd check`; every key can also be set by the\n\
                    # environment, such as AMTPD__LIMITS__MESSAGE_SIZE=1MiB.\n"
            .to_owned();
    for section in SECTIONS {
        if section.steps().count() <= 1 {
            file.push('\n');
        }
        if section.name.is_empty() {
            write_keys(&mut file, section, given, "");
        } else {
            write_section(&mut file, section, given);
        }
    }
    file
}

fn write_section(file: &mut String, section: &Section, given: &[(&str, String)]) {
    let indent = "  ".repeat(section.steps().count() - 1);
    comment(file, &prose(section.about), &indent);
    let name = section.sample();
    if section.keys.is_empty() && section.inner(&SECTIONS).next().is_none() {
        let _ = writeln!(file, "{indent}{name}: {{}}");
        return;
    }
    let needs = section.keys.iter().any(Key::is_required);
    let set = section
        .keys
        .iter()
        .any(|key| value(given, section, key).is_some());
    // A section with required keys is on as soon as it stands there; a domain is only an example.
    let is_switch = SWITCHES.contains(&section.name);
    let off = if (needs || is_switch || section.map().is_some()) && !set {
        "#"
    } else {
        ""
    };
    let _ = writeln!(file, "{indent}{off}{name}:");
    write_keys(file, section, given, &(indent + "  "));
}

fn write_keys(file: &mut String, section: &Section, given: &[(&str, String)], indent: &str) {
    for key in section.keys {
        comment(file, &prose(key.doc), indent);
        let written = match value(given, section, key) {
            Some(value) => format!("{}: {value}", key.name),
            None => {
                let usual = key.default.map_or_else(key.example, str::to_owned);
                format!("#{}: {usual}", key.name)
            }
        };
        let _ = writeln!(file, "{indent}{written}");
    }
}

fn value<'a>(given: &'a [(&str, String)], section: &Section, key: &Key) -> Option<&'a str> {
    let path = section.path(key.name);
    let found = given.iter().find(|(given, _)| *given == path);
    found.map(|(_, value)| value.as_str())
}

fn comment(file: &mut String, text: &str, indent: &str) {
    let mut line = format!("{indent}#");
    for word in text.split(' ') {
        if line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(file, "{line}");
            line = format!("{indent}#");
        }
        line.push(' ');
        line += word;
    }
    let _ = writeln!(file, "{line}");
}
