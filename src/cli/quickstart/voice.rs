//! How a quickstart talks: headings, sentences, facts; plain text unless a terminal can do more.

use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::Result;

use crate::cli::show;
use crate::config::Environment;

const WIDTH: usize = 80;
const INDENT: &str = "   ";

/// Speaks to standard output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Voice {
    bold: (&'static str, &'static str),
    good: (&'static str, &'static str),
}

impl Voice {
    /// As the reader can take it: `NO_COLOR` is respected.
    pub(super) fn of_process(environment: &Environment) -> Self {
        let wanted = environment.find("NO_COLOR").is_none_or(str::is_empty);
        if wanted && std::io::stdout().is_terminal() {
            Self {
                bold: ("\u{1b}[1m", "\u{1b}[0m"),
                good: ("\u{1b}[32m", "\u{1b}[0m"),
            }
        } else {
            Self {
                bold: ("", ""),
                good: ("", ""),
            }
        }
    }

    /// A line that opens something, after an empty one.
    pub(super) fn heading(&self, text: &str) -> Result<()> {
        let (on, off) = self.bold;
        show(&format!("\n{on}{text}{off}\n"))
    }

    /// Sentences, wrapped.
    pub(super) fn say(&self, text: &str) -> Result<()> {
        let lines = wrapped(text, WIDTH - INDENT.len());
        lines.iter().try_for_each(|line| self.line(line))
    }

    /// Something to look at, as it is.
    pub(super) fn fact(&self, text: &str) -> Result<()> {
        self.line(&format!("  {text}"))
    }

    /// That a step was confirmed.
    pub(super) fn confirmed(&self, took: Duration) -> Result<()> {
        let (on, off) = self.good;
        self.line(&format!("{on}confirmed{off} in {} ms", took.as_millis()))
    }

    fn line(&self, text: &str) -> Result<()> {
        show(&format!("{INDENT}{text}\n"))
    }
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_only() {
        assert_eq!(wrapped("one two  three", 8), ["one two", "three"]);
        assert_eq!(
            wrapped("a longerthanwide b", 5),
            ["a", "longerthanwide", "b"]
        );
        assert_eq!(wrapped("", 5), [""]);
    }
}
