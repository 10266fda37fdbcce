//! A badge: which levels a gateway reaches, as a small picture (SVG).

use super::files::escaped;
use super::standing::Standing;
use crate::level::Level;

/// Pixels of a character.
const CHARACTER: usize = 7;

/// The picture.
pub(crate) fn badge(standings: &[Standing]) -> String {
    let (left, right) = ("AMTP 1.0", words(standings));
    let colour = match right.as_str() {
        "not conformant" => "#c33",
        _ => "#2a7",
    };
    let width = |text: &str| text.chars().count() * CHARACTER + 12;
    let (first, second) = (width(left), width(&right));
    let (all, middle_left, middle_right) = (first + second, first / 2, first + second / 2);
    let right = escaped(&right);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{all}\" height=\"20\" role=\"img\" aria-label=\"{left}: {right}\">\
         <rect width=\"{first}\" height=\"20\" fill=\"#444\"/>\
         <rect x=\"{first}\" width=\"{second}\" height=\"20\" fill=\"{colour}\"/>\
         <g fill=\"#fff\" text-anchor=\"middle\" font-family=\"Verdana,sans-serif\" font-size=\"11\">\
         <text x=\"{middle_left}\" y=\"14\">{left}</text><text x=\"{middle_right}\" y=\"14\">{right}</text></g></svg>\n"
    )
}

/// What is reached, in words.
fn words(standings: &[Standing]) -> String {
    let clean = |of: fn(Level) -> bool| {
        let mut these = standings.iter().filter(|it| of(it.level)).peekable();
        these.peek().is_some() && these.all(Standing::is_reached)
    };
    if !clean(|level| level == Level::Core) {
        return "not conformant".to_owned();
    }
    let mut reached = vec!["Core"];
    if clean(Level::is_extended) {
        reached.push("Extended");
    }
    if clean(|level| level == Level::Signatures) {
        reached.push("Signatures");
    }
    reached.join(" + ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::outcome;
    use crate::report::standings;
    use crate::runner::Verdict;

    #[test]
    fn the_badge_says_no_more_than_was_reached() {
        let said = |verdicts: &[(Level, Verdict)]| {
            let outcomes: Vec<_> = verdicts
                .iter()
                .map(|(level, verdict)| outcome(*level, verdict.clone()))
                .collect();
            words(&standings(&outcomes))
        };
        let failed = Verdict::Failed("x".to_owned());
        let core = (Level::Core, Verdict::Passed);
        assert_eq!(said(&[(Level::Core, failed.clone())]), "not conformant");
        assert_eq!(
            said(&[core.clone(), (Level::Reliability, failed.clone())]),
            "Core"
        );
        let both = [
            core.clone(),
            (Level::Reliability, Verdict::Passed),
            (Level::Signatures, Verdict::Passed),
        ];
        assert_eq!(said(&both), "Core + Extended + Signatures");
        let outcomes = [outcome(Level::Core, failed)];
        assert!(badge(&standings(&outcomes)).contains("#c33"));
    }
}
