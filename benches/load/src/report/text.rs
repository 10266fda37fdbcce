//! What the program says to people.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is the program's output"
)]

use super::{Figure, Goal, Report};

pub(crate) fn complain(error: &anyhow::Error) {
    eprintln!("amtp-load: {error:#}");
}

/// A line of a figure that is no table.
pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// One step of a figure.
pub(crate) fn progress(figure: &str, step: &str) {
    eprintln!("{figure}: {step}");
}

/// A figure that could not be measured.
pub(crate) fn left_out(figure: &str, error: &anyhow::Error) {
    eprintln!("{figure}: not measured: {error:#}");
}

pub(crate) fn table(report: &Report) {
    let machine = &report.machine;
    println!(
        "{}, commit {}, {} processors ({}), {}",
        machine.date, machine.commit, machine.processors, machine.model, machine.kernel
    );
    println!(
        "bytes and processor time are for each message\n\n{:<50} {:>12} {:>12} {:>22} {:>9}",
        "figure", "value", "beside", "ratio (lowest-highest)", "goal"
    );
    for figure in &report.figures {
        one(figure);
    }
    for (name, error) in &report.failed {
        println!("{name}: not measured: {error}");
    }
}

fn one(figure: &Figure) {
    let ratio = format!(
        "{} ({}-{})",
        short(figure.ratio),
        short(figure.lowest),
        short(figure.highest)
    );
    println!(
        "{:<50} {:>12} {:>12} {ratio:>22} {:>9}{}",
        figure.title,
        quantity(figure.value, figure.unit),
        quantity(figure.ceiling, figure.unit),
        goal(figure.goal),
        verdict(figure.goal, figure.ratio),
    );
    for detail in &figure.details {
        let beside = detail.beside.map(|value| quantity(value, detail.unit));
        println!(
            "  {:<48} {:>12} {:>12} {:>22} {:>9}{}",
            detail.text,
            quantity(detail.value, detail.unit),
            beside.unwrap_or_default(),
            "",
            goal(detail.goal),
            verdict(detail.goal, detail.judged()),
        );
    }
}

/// A number with as many digits as people read.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        ..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => grouped(&format!("{value:.0}")),
    }
}

fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(crate) fn quantity(value: f64, unit: &str) -> String {
    match unit {
        "/s" => format!("{}/s", short(value)),
        _ => format!("{} {unit}", short(value)),
    }
}

fn goal(goal: Option<Goal>) -> String {
    match goal {
        Some(Goal::AtLeast(value)) => format!(">= {}", short(value)),
        Some(Goal::AtMost(value)) => format!("<= {}", short(value)),
        None => String::new(),
    }
}

fn verdict(goal: Option<Goal>, value: f64) -> &'static str {
    match goal.map(|goal| goal.holds(value)) {
        Some(true) => "  holds",
        Some(false) => "  missed",
        None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(quantity(17_123.4, "/s"), "17,123/s");
        assert_eq!(quantity(0.2345, "ms"), "0.23 ms");
        assert_eq!(short(-1_234.0), "-1,234");
        assert_eq!(short(45.67), "45.7");
    }
}
