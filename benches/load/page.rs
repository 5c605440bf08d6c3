//! The report as a page: everything in one file, without scripts, for light and dark.

use crate::chart::Chart;
use crate::finding::Finding;
use crate::goals::Verdict;
use crate::report::Report;
use crate::table::Table;

const STYLE: &str = "
:root { color-scheme: light dark; --text: #1c2024; --soft: #60646c; --line: #d9d9e0; --back: #fcfcfd; --card: #ffffff;
  --s0: #0d74ce; --s1: #e5484d; --s2: #8d8d8d; --good: #18794e; --fair: #9a6700; --bad: #c62a2f; }
@media (prefers-color-scheme: dark) { :root { --text: #edeef0; --soft: #b0b4ba; --line: #363a3f; --back: #111113; --card: #18191b;
  --s0: #70b8ff; --s1: #ff9592; --s2: #9ba1a6; --good: #3dd68c; --fair: #ffca16; --bad: #ff9592; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1rem 4rem; max-width: 60rem; background: var(--back); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .25rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
p, pre { color: var(--soft); margin: .25rem 0 .75rem; }
pre { overflow-x: auto; font-size: .85rem; }
nav ul { padding: 0; list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1rem; }
a { color: var(--s0); }
.wide { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .75rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; }
tr + tr > *, tbody tr > * { border-top: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 500; }
.good { color: var(--good); font-weight: 600; } .fair { color: var(--fair); font-weight: 600; }
.bad { color: var(--bad); font-weight: 600; }
svg { width: 100%; height: auto; display: block; margin: .5rem 0 1rem; }
svg text { fill: var(--text); font: 12px system-ui, sans-serif; } svg .figure { fill: var(--soft); }
.s0 { fill: var(--s0); } .s1 { fill: var(--s1); } .s2 { fill: var(--s2); } .s3 { fill: var(--good); }
";

impl Report<'_> {
    /// The whole page.
    pub fn page(&self) -> String {
        let about = format!("{}\n{}", self.machine, self.cores);
        let links = self.findings.iter().map(|Finding { scenario, .. }| {
            format!("<li><a href=\"#{}\">{}</a></li>", escape(scenario.name), escape(scenario.title))
        });
        let findings: String = self.findings.iter().map(section).collect();
        format!(
            "<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">
<title>obo-gateway under load</title>
<style>{STYLE}</style>
</head>
<body>
<h1>obo-gateway under load</h1>
<pre>{}</pre>
<h2 id=\"goals\">Goals</h2>
{}
<nav aria-label=\"Scenarios\"><ul>{}</ul></nav>
{findings}</body>
</html>
",
            escape(&about),
            table(&self.goals()),
            links.collect::<String>(),
        )
    }
}

fn section(finding: &Finding) -> String {
    let Finding { scenario, tables, charts, notes, faults, .. } = finding;
    let mut text = format!(
        "<section id=\"{}\">\n<h2>{}</h2>\n<p>{}</p>\n",
        escape(scenario.name),
        escape(scenario.title),
        escape(scenario.about)
    );
    for fault in faults {
        text += &format!("<p class=\"bad\">The figures do not count: {}</p>\n", escape(fault));
    }
    for chart in charts {
        text += &figure(chart);
    }
    for shown in tables {
        text += &format!("<h3>{}</h3>\n{}", escape(&shown.heading), table(shown));
    }
    for note in notes {
        text += &format!("<p>{}</p>\n", escape(note));
    }
    text + "</section>\n"
}

fn figure(chart: &Chart) -> String {
    format!("<h3>{}</h3>\n{}\n", escape(&chart.heading), chart.svg())
}

fn table(table: &Table) -> String {
    let cells = |row: &[String], of: &str| -> String {
        row.iter().map(|cell| format!("<{of}{}>{}</{of}>", class(cell), escape(cell))).collect()
    };
    let rows = table.rows.iter().map(|row| format!("<tr>{}</tr>\n", cells(row, "td")));
    format!(
        "<div class=\"wide\"><table>\n<thead><tr>{}</tr></thead>\n<tbody>\n{}</tbody></table></div>\n",
        cells(&table.columns, "th"),
        rows.collect::<String>()
    )
}

/// A verdict has a colour beside its word.
fn class(cell: &str) -> &'static str {
    let is = |verdict: Verdict| cell == verdict.word();
    match cell {
        _ if is(Verdict::Aimed) => " class=\"good\"",
        _ if is(Verdict::Reached) => " class=\"fair\"",
        _ if is(Verdict::Missed) => " class=\"bad\"",
        _ => "",
    }
}

/// Text as it stands in HTML, also in an attribute.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(character),
        }
    }
    escaped
}
