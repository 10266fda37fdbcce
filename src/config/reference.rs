//! The reference page of the configuration, from the same tables that read it.

use std::fmt::Write as _;

use super::SECTIONS;
use super::environment::variable;
use super::section::{Key, Section};

const HEAD: &str = "\
# Configuration

One YAML file, named on the command line (`amtpd serve --config FILE`). This page is the output of
`amtpd config-reference`; `amtpd init` writes a file that has every key with its meaning.

- **Checking.** `amtpd check --config FILE` tells every fault at once, with file and line. An unknown key is a fault.
- **Environment.** Every key can be set by a variable, which then wins over the file: two underscores stand
  before each step to the key, as in `AMTPD__LIMITS__MESSAGE_SIZE=1MiB` and `AMTPD__DELIVERY__RETRY__MAX=30m`.
  Letter case does not matter. Lists are written as in YAML: `AMTPD__DOMAINS='[example.com, example.org]'`.
  No variable can name a domain, so all peers are set together, in place of those in the file:
  `AMTPD__PEERS='{partner.example: {rate: 50/s}}'`.
- **Durations** are whole numbers with a unit: `300ms`, `5s`, `10m`, `2h`, `7d`.
- **Sizes** are bytes: `512B`, `64KiB`, `10MiB`, `1GiB`. Without a unit they are bytes as well.
- **Rates** are `100/s`, `600/m` or `50/h`.
- **Paths** that are relative start at the folder of the configuration file. `$CREDENTIALS_DIRECTORY/name` is a
  credential that systemd passed (`LoadCredential=`).
- **Secrets** are read from a file (`admin.key` or `file:admin.key`), or from the environment (`env:NAME`).
";

/// The page, in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    for section in SECTIONS {
        let title = if section.name.is_empty() {
            "Top level".to_owned()
        } else {
            format!("`{}`", section.name)
        };
        let _ = write!(page, "\n## {title}\n\n{}\n", prose(section.about));
        for key in section.keys {
            page.push('\n');
            page += &entry(section, key);
        }
    }
    page
}

fn entry(section: &Section, key: &Key) -> String {
    let needed = match key.default {
        Some(default) => format!("Default: `{default}`."),
        None if key.is_required() => "Required.".to_owned(),
        None => "Optional.".to_owned(),
    };
    let set_by = match section.map() {
        Some(map) => format!("none of its own; `{}` sets all", variable("", map)),
        None => format!("`{}`", variable(section.name, key.name)),
    };
    format!(
        "### `{}`\n\n{}\n\n- {needed}\n- Value: {}, such as `{}`.\n- Variable: {set_by}.\n",
        section.path(key.name),
        prose(key.doc),
        (key.noun)(),
        key.default.map_or_else(key.example, str::to_owned),
    )
}

/// Doc lines as one paragraph.
pub(super) fn prose(lines: &[&str]) -> String {
    let lines: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
    lines.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_docs_is_the_one_that_is_generated() {
        let page = include_str!("../../docs/configuration.md");
        assert!(
            page == reference(),
            "run: cargo run -- config-reference > docs/configuration.md"
        );
    }

    #[test]
    fn every_key_is_explained() {
        for section in SECTIONS {
            for key in section.keys {
                assert!(prose(key.doc).ends_with(['.', '`']), "{}", key.name);
                assert!(!(key.noun)().is_empty() && !(key.example)().is_empty());
            }
        }
    }
}
