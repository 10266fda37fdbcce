//! What an answer quotes of the mail it answers.
//!
//! Three habits are known: `>` lines below the answer (with the line that introduces them), `>` lines
//! above the answer, and the header block or rule that Outlook and webmailers put above a whole quoted
//! mail. An answer between the quoted lines stays whole, and so does a forwarded mail: there the quote
//! is what the mail is about. Nothing is lost: what is cut off stands in the quote.

use std::ops::Range;

/// A longer text stays whole, in bytes: no person answers at such length.
const LONGEST: usize = 500_000;
/// The lines that a header block of a quoted mail may take.
const BLOCK: usize = 7;
/// The lines that the introduction of a quote may be wrapped to.
const INTRODUCTION: usize = 3;
/// The lines that a signature below a quote may have.
const SIGNATURE: usize = 12;

const RULES: [&str; 8] = [
    "original message",
    "original appointment",
    "ursprüngliche nachricht",
    "message d'origine",
    "message d’origine",
    "mensaje original",
    "messaggio originale",
    "oorspronkelijk bericht",
];
const FROM: [&str; 5] = ["from:", "von:", "de:", "da:", "van:"];
const OTHER_FIELDS: [&str; 20] = [
    "sent:",
    "date:",
    "to:",
    "subject:",
    "cc:",
    "gesendet:",
    "datum:",
    "an:",
    "betreff:",
    "envoyé:",
    "envoyé :",
    "à:",
    "objet:",
    "enviado:",
    "para:",
    "asunto:",
    "inviato:",
    "oggetto:",
    "verzonden:",
    "onderwerp:",
];
const FORWARDS: [&str; 6] = [
    "forwarded message",
    "forwarded by",
    "weitergeleitete nachricht",
    "message transféré",
    "mensaje reenviado",
    "messaggio inoltrato",
];
const INTRODUCERS: [&str; 11] = [
    "On ", "Am ", "Le ", "El ", "Il ", "Em ", "Op ", "Den ", "W dniu ", "Dne ", "Dnia ",
];

/// Parts a text into what was written and what is quoted. `of_html` says that the text was made of
/// HTML, where quotes have lost their `>`.
pub(super) fn cut(text: String, of_html: bool) -> (Option<String>, Option<String>) {
    if text.len() > LONGEST {
        return (Some(text), None);
    }
    let lines: Vec<&str> = text.lines().collect();
    let quote = [
        rule(&lines),
        tail(&lines),
        if of_html { introduced(&lines) } else { None },
    ];
    let first = quote.into_iter().flatten().min_by_key(|place| place.start);
    let place = first.or_else(|| head(&lines));
    if let Some(place) = place {
        let written = [&lines[..place.start], &lines[place.end..]].concat();
        let (written, quoted) = (joined(&written), joined(&lines[place]));
        if written.is_some() && quoted.is_some() {
            return (written, quoted);
        }
    }
    (joined(&lines), None)
}

/// Lines without blank ones around them.
fn joined(lines: &[&str]) -> Option<String> {
    let first = lines.iter().position(|line| !is_blank(line))?;
    let last = lines.iter().rposition(|line| !is_blank(line))?;
    Some(lines[first..=last].join("\n").trim_end().to_owned())
}

fn is_blank(line: &str) -> bool {
    line.trim().is_empty()
}

fn is_quoted(line: &str) -> bool {
    line.starts_with('>') || line.starts_with(" >")
}

/// A whole mail below a rule or a header block.
fn rule(lines: &[&str]) -> Option<Range<usize>> {
    let begins = |at: &usize| is_rule(lines[*at]) || is_block(lines, *at);
    let mut start = (0..lines.len()).find(begins)?;
    while start > 0 && (is_blank(lines[start - 1]) || is_line_of(lines[start - 1], '_')) {
        start -= 1;
    }
    Some(start..lines.len())
}

fn is_rule(line: &str) -> bool {
    let line = line.trim();
    let inner = line.trim_matches(['-', ' ']).to_lowercase();
    line.starts_with('-') && line.len() < 100 && RULES.contains(&inner.as_str())
}

fn is_line_of(line: &str, sign: char) -> bool {
    let line = line.trim();
    line.len() >= 10 && line.chars().all(|c| c == sign)
}

/// Whether the fields of a quoted mail begin here: `From:` and two others at least.
fn is_block(lines: &[&str], at: usize) -> bool {
    let begins_with = |line: &str, words: &[&str]| {
        let start: String = line.trim().replace('*', "").chars().take(16).collect();
        let start = start.to_lowercase();
        words.iter().any(|word| start.starts_with(word))
    };
    if !begins_with(lines[at], &FROM) {
        return false;
    }
    let below = lines[at + 1..].iter().take(BLOCK);
    let others = below
        .filter(|line| begins_with(line, &OTHER_FIELDS))
        .count();
    let above = lines[..at].iter().rev().find(|line| !is_blank(line));
    let is_forward = above.is_some_and(|line| {
        let line = line.to_lowercase();
        FORWARDS.iter().any(|word| line.contains(word))
    });
    others >= 2 && !is_forward
}

/// `>` lines at the end, above a signature at most.
fn tail(lines: &[&str]) -> Option<Range<usize>> {
    let mut end = lines.len();
    let signature = (end.saturating_sub(SIGNATURE)..end).find(|at| lines[*at].trim_end() == "--");
    if let Some(at) = signature
        && lines[..at]
            .iter()
            .rev()
            .find(|line| !is_blank(line))
            .is_some_and(|line| is_quoted(line))
    {
        end = at;
    }
    let last = lines[..end].iter().rposition(|line| !is_blank(line))?;
    if !is_quoted(lines[last]) {
        return None;
    }
    let outside = |line: &&str| !is_quoted(line) && !is_blank(line);
    let start = lines[..last]
        .iter()
        .rposition(outside)
        .map_or(0, |at| at + 1);
    Some(introduction_above(lines, start)..end)
}

/// Where the introduction of a quote begins; `start` if it has none.
fn introduction_above(lines: &[&str], start: usize) -> usize {
    let Some(last) = lines[..start].iter().rposition(|line| !is_blank(line)) else {
        return start;
    };
    if start - last > 2 || !ends_with_colon(lines[last]) {
        return start;
    }
    let earliest = (last + 1).saturating_sub(INTRODUCTION);
    let begin = (earliest..=last).rev().find(|at| introduces(lines[*at]));
    match begin {
        Some(begin) if lines[begin..=last].iter().all(|line| !is_blank(line)) => begin,
        _ if has_date_or_address(lines[last]) => last,
        _ => start,
    }
}

fn ends_with_colon(line: &str) -> bool {
    line.trim_end().ends_with([':', '：'])
}

fn introduces(line: &str) -> bool {
    INTRODUCERS
        .iter()
        .any(|word| line.trim_start().starts_with(word))
}

fn has_date_or_address(line: &str) -> bool {
    line.contains('@') || line.chars().any(|c| c.is_ascii_digit())
}

/// `>` lines at the beginning, with the answer below them and no other quote.
fn head(lines: &[&str]) -> Option<Range<usize>> {
    let first = lines.iter().position(|line| is_quoted(line))?;
    let start = introduction_above(lines, first);
    let only_blank_above = lines[..start].iter().all(|line| is_blank(line));
    let inside = |line: &&&str| is_quoted(line) || is_blank(line);
    let end = first + lines[first..].iter().take_while(inside).count();
    let is_only = !lines[end..].iter().any(|line| is_quoted(line));
    (only_blank_above && is_only && end < lines.len()).then_some(start..end)
}

/// Everything below an introduction, where the quote itself has no marks.
fn introduced(lines: &[&str]) -> Option<Range<usize>> {
    let is_introduction = |at: &usize| {
        let line = lines[*at];
        introduces(line) && {
            let few = &lines[*at..lines.len().min(*at + INTRODUCTION)];
            let last = few.iter().position(|line| ends_with_colon(line));
            last.is_some_and(|last| few[..=last].iter().any(|line| has_date_or_address(line)))
        }
    };
    let start = (0..lines.len()).find(is_introduction)?;
    Some(start..lines.len())
}

#[cfg(test)]
mod tests;
