//! Bars from left to right, with their names, values, an axis and marks.

use std::fmt::Write as _;

use crate::report::short;

const WIDTH: f64 = 700.0;
/// Where bars begin, and how much is left for values behind the longest.
const LEFT: f64 = 320.0;
const RIGHT: f64 = 70.0;
const TOP: f64 = 44.0;
const ROW: f64 = 24.0;
const BOTTOM: f64 = 48.0;

/// Colours by their roles. The viewer's preference chooses.
const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#1f2328}\
.title{font-size:15px;font-weight:600}\
.axis{font-size:12px;fill:#59636e}\
.grid{stroke:#d1d9e0}\
.own{fill:#2f6fb3}\
.beside{fill:#9aa4af}\
.range{stroke:#1f2328;stroke-width:1.5}\
.goal{stroke:#c2410c;stroke-width:3}\
@media(prefers-color-scheme:dark){\
text{fill:#e6edf3}\
.axis{fill:#9198a1}\
.grid{stroke:#3d444d}\
.own{fill:#6cb0f0}\
.beside{fill:#6e7781}\
.range{stroke:#e6edf3}\
.goal{stroke:#fb923c}}";

/// One bar.
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) value: f64,
    /// From where to where single runs went.
    pub(super) range: Option<(f64, f64)>,
    pub(super) goal: Option<f64>,
    /// Whether this is what another bar is compared with.
    pub(super) beside: bool,
}

/// A chart.
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) axis: &'static str,
    pub(super) bars: Vec<Bar>,
}

impl Chart {
    pub(super) fn svg(&self) -> String {
        let rows = self.bars.iter().map(|_| ROW).sum::<f64>();
        let height = TOP + rows + BOTTOM;
        let step = step(self.longest());
        let scale = (WIDTH - LEFT - RIGHT) / self.longest();
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{0}\">\n\
             <style>{STYLE}</style>\n<text class=\"title\" x=\"8\" y=\"24\">{0}</text>\n",
            escaped(&self.title),
        );
        let bottom = TOP + rows;
        let mut at = 0.0;
        while at <= self.longest() {
            let x = LEFT + at * scale;
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
                 <text class=\"axis\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 16.0,
                mark(at, step),
            );
            at += step;
        }
        let mut y = TOP;
        for bar in &self.bars {
            bar.draw(&mut svg, y, scale);
            y += ROW;
        }
        let _ = writeln!(
            svg,
            "<text class=\"axis\" x=\"{LEFT}\" y=\"{:.1}\">{}</text>\n</svg>",
            bottom + 36.0,
            escaped(self.axis)
        );
        svg
    }

    /// What the axis must reach.
    fn longest(&self) -> f64 {
        let of = |bar: &Bar| {
            let range = bar.range.map_or(0.0, |(_, highest)| highest);
            bar.value.max(range).max(bar.goal.unwrap_or(0.0))
        };
        self.bars.iter().map(of).fold(f64::MIN_POSITIVE, f64::max)
    }
}

impl Bar {
    fn draw(&self, svg: &mut String, y: f64, scale: f64) {
        let x = |value: f64| LEFT + value.max(0.0) * scale;
        let middle = y + ROW / 2.0;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <rect class=\"{}\" x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"2\"/>",
            LEFT - 8.0,
            middle + 4.0,
            escaped(&self.label),
            if self.beside { "beside" } else { "own" },
            y + 4.0,
            x(self.value) - LEFT,
            ROW - 8.0,
        );
        let mut end = x(self.value);
        if let Some((lowest, highest)) = self.range {
            let _ = writeln!(
                svg,
                "<line class=\"range\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\"/>",
                x(lowest),
                x(highest)
            );
            end = end.max(x(highest));
        }
        if let Some(goal) = self.goal {
            let _ = writeln!(
                svg,
                "<line class=\"goal\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{1:.1}\" y2=\"{2:.1}\"/>",
                x(goal),
                y + 2.0,
                y + ROW - 2.0
            );
            // The value does not stand on the mark.
            if (end..end + 48.0).contains(&x(goal)) {
                end = x(goal);
            }
        }
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            end + 6.0,
            middle + 4.0,
            short(self.value)
        );
    }
}

/// A round distance between marks of the axis: three to ten of them.
fn step(longest: f64) -> f64 {
    let power = 10_f64.powf(longest.log10().floor());
    let lead = longest / power;
    match lead {
        ..5.0 => power / 2.0,
        _ => power,
    }
}

fn mark(at: f64, step: f64) -> String {
    match step {
        ..0.1 => format!("{at:.2}"),
        ..1.0 => format!("{at:.1}"),
        _ => format!("{at:.0}"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_its_bars_and_stays_inside() {
        let bar = |label: &str, value| Bar {
            label: label.to_owned(),
            value,
            range: Some((value * 0.9, value * 1.1)),
            goal: Some(0.45),
            beside: false,
        };
        let svg = Chart {
            title: "a & b".to_owned(),
            axis: "ratio",
            bars: vec![bar("one", 0.2), bar("two", 0.6)],
        }
        .svg();
        assert!(svg.contains("a &amp; b") && svg.contains(">two<"));
        assert_eq!(svg.matches("<rect").count(), 2);
        let places = svg.split("x2=\"").skip(1);
        let mut ends = places.map(|rest| rest.split('"').next().unwrap().parse::<f64>().unwrap());
        assert!(ends.all(|x| x <= WIDTH - RIGHT + 0.1), "{svg}");
    }

    #[test]
    fn the_axis_has_round_steps() {
        assert!((step(0.45) - 0.05).abs() < 1e-9);
        assert!((step(7.0) - 1.0).abs() < 1e-9);
        assert!((step(12_000.0) - 5_000.0).abs() < 1e-6);
    }
}
