//! Charts of a report, as SVG: a few bars, drawn by hand, readable on light and on dark ground.

mod svg;

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::report::{Detail, Figure, Goal, Report};
use svg::{Bar, Chart};

/// Writes the charts of what was measured into this folder.
pub(crate) fn write(report: &Report, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    for (name, chart) in [
        ("ratios", ratios(report)),
        ("latency", latencies(report)),
        ("bytes", bytes(report)),
        ("processor", processor(report)),
    ] {
        if chart.bars.is_empty() {
            continue;
        }
        let path = folder.join(format!("{name}.svg"));
        std::fs::write(&path, chart.svg()).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

const fn goal(goal: Option<Goal>) -> Option<f64> {
    match goal {
        Some(Goal::AtLeast(value) | Goal::AtMost(value)) => Some(value),
        None => None,
    }
}

fn of_bare_server(report: &Report) -> impl Iterator<Item = &Figure> {
    let figures = report.figures.iter();
    figures.filter(|figure| figure.beside == "bare server")
}

fn ratios(report: &Report) -> Chart {
    let bar = |figure: &Figure| Bar {
        label: figure.title.clone(),
        value: figure.ratio,
        range: Some((figure.lowest, figure.highest)),
        goal: goal(figure.goal),
        beside: false,
    };
    Chart {
        title: "Messages a second, as part of the bare server's".to_owned(),
        axis: "ratio (median; line: lowest to highest; mark: goal)",
        bars: of_bare_server(report).map(bar).collect(),
    }
}

/// A bar for what was measured and one for its companion.
fn two(bars: &mut Vec<Bar>, figure: &str, detail: &Detail) {
    let bar = |label: String, value, beside| Bar {
        label,
        value,
        range: None,
        goal: None,
        beside,
    };
    bars.push(bar(
        format!("{figure}: {}", detail.text),
        detail.value,
        false,
    ));
    bars.extend(
        detail
            .beside
            .map(|value| bar("bare server".to_owned(), value, true)),
    );
}

fn latencies(report: &Report) -> Chart {
    let mut bars = Vec::new();
    for figure in &report.figures {
        for name in ["half_load_p50_ms", "half_load_p95_ms", "half_load_p99_ms"] {
            if let Some(detail) = figure.detail(name) {
                two(&mut bars, figure.name, detail);
            }
        }
    }
    Chart {
        title: "Latency at half load".to_owned(),
        axis: "milliseconds from the moment a message was to be sent",
        bars,
    }
}

fn bytes(report: &Report) -> Chart {
    let mut bars = Vec::new();
    for figure in &report.figures {
        for name in ["written_bytes", "handed_bytes", "kept_bytes"] {
            if let Some(detail) = figure.detail(name) {
                bars.push(Bar {
                    label: format!("{}: {}", figure.name, detail.text),
                    value: detail.value,
                    range: None,
                    goal: goal(detail.goal),
                    beside: false,
                });
            }
        }
    }
    Chart {
        title: "Bytes for each accepted message".to_owned(),
        axis: "bytes (mark: goal)",
        bars,
    }
}

fn processor(report: &Report) -> Chart {
    let mut bars = Vec::new();
    for figure in of_bare_server(report) {
        if let Some(detail) = figure.detail("server_cpu_us") {
            two(&mut bars, figure.name, detail);
        }
    }
    Chart {
        title: "Processor time for each message".to_owned(),
        axis: "microseconds of the serving processes",
        bars,
    }
}
