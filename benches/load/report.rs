//! All that was found, for a terminal and in Markdown.

use crate::Outcome;
use crate::finding::Finding;
use crate::goals::{self, Figures};
use crate::machine::{Cores, Machine};
use crate::table::Table;

pub struct Report<'a> {
    pub machine: Machine,
    pub cores: &'a Cores,
    pub findings: Vec<Finding>,
}

impl Report<'_> {
    /// Every goal, with what was measured for it.
    pub fn goals(&self) -> Table {
        let mut figures = Figures::new();
        for finding in &self.findings {
            figures.extend(&finding.figures);
        }
        goals::table(&figures)
    }

    pub fn markdown(&self) -> String {
        let mut text = format!("{}\n", self.goals().markdown());
        for Finding { scenario, tables, notes, .. } in &self.findings {
            text += &format!("## {}\n\n{}\n\n", scenario.title, scenario.about);
            text.extend(tables.iter().map(|table| table.markdown() + "\n"));
            text.extend(notes.iter().map(|note| format!("{note}\n\n")));
        }
        text + &format!("```text\n{}\n{}\n```\n", self.machine, self.cores)
    }

    /// Whether all that the figures stand for was done.
    pub fn check(&self) -> Outcome<()> {
        let faults: Vec<String> = self
            .findings
            .iter()
            .flat_map(|Finding { scenario, faults, .. }| {
                faults.iter().map(|fault| format!("{}: {fault}", scenario.name))
            })
            .collect();
        match faults.is_empty() {
            true => Ok(()),
            false => Err(format!("the figures do not count: {}", faults.join("; ")).into()),
        }
    }
}

impl Finding {
    /// For a terminal.
    pub fn text(&self) -> String {
        let Self { scenario, tables, notes, .. } = self;
        let mut text = format!("\n── {} ({})\n{}\n\n", scenario.title, scenario.name, scenario.about);
        text.extend(tables.iter().map(|table| table.text() + "\n"));
        text.extend(notes.iter().map(|note| format!("{note}\n")));
        text + "\n"
    }
}
