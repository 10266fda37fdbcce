//! What is said of two gateways.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is the program's output"
)]

use serde::Serialize;

use super::traffic::Measured;
use crate::report::median;

/// All figures.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) messages: u64,
    /// Each way.
    pub(crate) delay_ms: u128,
    pub(crate) batch: bool,
    pub(crate) rounds: Vec<Round>,
    /// The median of the rounds' ratios.
    pub(crate) ratio: Option<f64>,
}

/// A run over a short way and, if a delay is asked for, one over a long way.
#[derive(Debug, Serialize)]
pub(crate) struct Round {
    near: Measured,
    far: Option<Measured>,
    /// Delivered a second far away, of what is delivered a second nearby.
    pub(crate) ratio: Option<f64>,
}

impl Round {
    pub(crate) fn of(near: Measured, far: Option<Measured>) -> Self {
        let ratio = far.as_ref().map(|far| far.delivered / near.delivered);
        Self { near, far, ratio }
    }
}

pub(crate) fn progress(number: usize, of: usize, delay_ms: u128) {
    eprintln!("round {} of {of}: {delay_ms} ms each way", number + 1);
}

pub(crate) fn table(figures: &Figures) {
    println!(
        "{:>5} {:>9} {:>12} {:>12} {:>15} {:>7}",
        "round", "each way", "accepted/s", "delivered/s", "per round trip", "ratio"
    );
    for (number, round) in figures.rounds.iter().enumerate() {
        row(number, 0, &round.near, None);
        if let Some(far) = &round.far {
            row(number, figures.delay_ms, far, round.ratio);
        }
    }
    let of = |run: fn(&Round) -> Option<f64>| median(figures.rounds.iter().filter_map(run));
    let near = of(|round| Some(round.near.delivered)).unwrap_or_default();
    println!(
        "end to end: {near:.0} messages/s (median of {}); {} messages a run, every one once and in order",
        figures.rounds.len(),
        figures.messages
    );
    let far = of(|round| round.far.as_ref().map(|far| far.delivered));
    let each = of(|round| round.far.as_ref().and_then(|far| far.each_round_trip));
    if let (Some(far), Some(each), Some(ratio)) = (far, each, figures.ratio) {
        println!(
            "with {} ms each way: {far:.0} messages/s, {each:.1} a round trip, {ratio:.3} of the rate without delay (medians)",
            figures.delay_ms
        );
    }
}

fn row(number: usize, delay_ms: u128, run: &Measured, ratio: Option<f64>) {
    let shown = |figure: Option<f64>, digits: usize| {
        figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.digits$}"))
    };
    println!(
        "{:>5} {:>9} {:>12.0} {:>12.0} {:>15} {:>7}",
        number + 1,
        format!("{delay_ms} ms"),
        run.accepted,
        run.delivered,
        shown(run.each_round_trip, 1),
        shown(ratio, 3),
    );
}
