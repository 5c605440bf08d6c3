//! Bars that compare, drawn as SVG within a page.

use std::fmt::Write as _;

use crate::page::escape;

/// Bars in groups: a group for each setting, in it a bar for each of those that are compared.
pub struct Chart {
    pub heading: String,
    pub unit: &'static str,
    pub series: Vec<String>,
    pub groups: Vec<(String, Vec<f64>)>,
}

/// Units of the drawing, which scales with the page.
const WIDTH: f64 = 720.0;
/// Where bars begin, and how long the longest is. What is left is for its figure.
const LEFT: f64 = 150.0;
const LONGEST: f64 = 480.0;
const BAR: f64 = 16.0;
const GAP: f64 = 14.0;
/// Room for the names of the series.
const TOP: f64 = 26.0;

impl Chart {
    pub fn svg(&self) -> String {
        let most = self.groups.iter().flat_map(|(_, values)| values).copied().fold(0.0, f64::max).max(1e-9);
        let group = self.series.len() as f64 * BAR + GAP;
        let height = TOP + group * self.groups.len() as f64;
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">\n",
            escape(&self.heading)
        );
        let mut x = LEFT;
        for (number, name) in self.series.iter().enumerate() {
            let (box_y, text_x) = (4.0, x + 16.0);
            line(
                &mut svg,
                format_args!(
                    "<rect class=\"s{number}\" x=\"{x}\" y=\"{box_y}\" width=\"11\" height=\"11\" rx=\"2\"/>"
                ),
            );
            line(&mut svg, format_args!("<text x=\"{text_x}\" y=\"14\">{}</text>", escape(name)));
            x = text_x + 8.0 * name.chars().count() as f64 + 18.0;
        }
        for (number, (name, values)) in self.groups.iter().enumerate() {
            let top = TOP + group * number as f64;
            let middle = top + (group - GAP) / 2.0 + 4.0;
            line(
                &mut svg,
                format_args!(
                    "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{}</text>",
                    LEFT - 10.0,
                    escape(name)
                ),
            );
            for (series, value) in values.iter().enumerate() {
                let (y, width) = (top + BAR * series as f64, (value / most * LONGEST).max(1.0));
                let (bar, text_x, text_y) = (BAR - 2.0, LEFT + width + 6.0, y + BAR - 5.0);
                line(
                    &mut svg,
                    format_args!(
                        "<rect class=\"s{series}\" x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"{bar}\" rx=\"2\"/>\
                         <text class=\"figure\" x=\"{text_x:.1}\" y=\"{text_y}\">{}{}</text>",
                        figure(*value),
                        escape(self.unit)
                    ),
                );
            }
        }
        svg + "</svg>"
    }
}

fn figure(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.2}"),
        ..1_000.0 => format!("{value:.1}"),
        _ => crate::table::thousands(value),
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a string does not fail");
}
