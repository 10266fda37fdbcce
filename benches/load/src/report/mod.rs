//! Figures: what is measured beside what it is compared with, as ratios of paired runs.

mod machine;
mod text;

use serde::Serialize;

pub(crate) use machine::Machine;
pub(crate) use text::{complain, left_out, line, progress, short, table};

/// What a figure is to come to.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    pub(crate) fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }
}

/// Two runs, one right after the other.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Pair {
    pub(crate) value: f64,
    pub(crate) ceiling: f64,
    pub(crate) ratio: f64,
}

impl Pair {
    pub(crate) fn new(value: f64, ceiling: f64) -> Self {
        let ratio = value / ceiling;
        Self {
            value,
            ceiling,
            ratio,
        }
    }
}

/// Something else that the same runs show.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Detail {
    /// Its name for programs.
    pub(crate) name: &'static str,
    pub(crate) text: String,
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
    /// The same of what the figure is compared with.
    pub(crate) beside: Option<f64>,
    /// For the value, or for what it is above that of its companion.
    pub(crate) goal: Option<Goal>,
}

impl Detail {
    pub(crate) fn new(name: &'static str, text: &str, unit: &'static str, value: f64) -> Self {
        Self {
            name,
            text: text.to_owned(),
            unit,
            value,
            beside: None,
            goal: None,
        }
    }

    pub(crate) fn beside(self, beside: f64) -> Self {
        Self {
            beside: Some(beside),
            ..self
        }
    }

    pub(crate) fn goal(self, goal: Goal) -> Self {
        Self {
            goal: Some(goal),
            ..self
        }
    }

    /// What its goal is about.
    pub(crate) fn judged(&self) -> f64 {
        self.value - self.beside.unwrap_or(0.0)
    }
}

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    /// What the ratio is to.
    pub(crate) beside: &'static str,
    /// For the ratio.
    pub(crate) goal: Option<Goal>,
    /// Medians.
    pub(crate) value: f64,
    pub(crate) ceiling: f64,
    pub(crate) ratio: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
    pub(crate) pairs: Vec<Pair>,
    pub(crate) details: Vec<Detail>,
}

impl Figure {
    /// A figure of messages a second beside the bare server.
    pub(crate) fn new(name: &'static str, title: &str, pairs: Vec<Pair>) -> Self {
        let of = |part: fn(&Pair) -> f64| median(pairs.iter().map(part)).unwrap_or_default();
        let ratios = || pairs.iter().map(|pair| pair.ratio);
        Self {
            name,
            title: title.to_owned(),
            unit: "/s",
            beside: "bare server",
            goal: None,
            value: of(|pair| pair.value),
            ceiling: of(|pair| pair.ceiling),
            ratio: of(|pair| pair.ratio),
            lowest: ratios().fold(f64::INFINITY, f64::min),
            highest: ratios().fold(0.0, f64::max),
            pairs,
            details: Vec::new(),
        }
    }

    pub(crate) fn goal(self, goal: Goal) -> Self {
        Self {
            goal: Some(goal),
            ..self
        }
    }

    pub(crate) fn detail(&self, name: &str) -> Option<&Detail> {
        self.details.iter().find(|detail| detail.name == name)
    }
}

/// All of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) figures: Vec<Figure>,
    /// What could not be measured, and why.
    pub(crate) failed: Vec<(&'static str, String)>,
}

pub(crate) fn median(figures: impl Iterator<Item = f64>) -> Option<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let upper = *figures.get(figures.len() / 2)?;
    let lower = figures[(figures.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn to_float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_shows_the_medians_of_its_pairs() {
        let pairs = [(10.0, 100.0), (30.0, 100.0), (80.0, 200.0)];
        let pairs = pairs.map(|(value, ceiling)| Pair::new(value, ceiling));
        let figure = Figure::new("accept", "accept", pairs.to_vec());
        assert_eq!((figure.value, figure.ceiling), (30.0, 100.0));
        assert_eq!(
            (figure.ratio, figure.lowest, figure.highest),
            (0.3, 0.1, 0.4)
        );
        assert_eq!(median([1.0, 2.0].into_iter()), Some(1.5));
    }

    #[test]
    fn a_goal_beside_something_is_for_what_is_above_it() {
        let detail = Detail::new("p50", "p50", "ms", 2.5).beside(1.0);
        assert!(Goal::AtMost(2.0).holds(detail.judged()));
        assert!(!Goal::AtLeast(2.0).holds(detail.judged()));
    }
}
