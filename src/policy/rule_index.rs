//! Rules by connector and by people, so that a decision looks at the few that may be about it.

use std::collections::HashMap;
use std::sync::Arc;

use super::rules::{Kind, Rule};
use crate::identity::Caller;
use crate::tool::Tool;

/// Rules, in the order in which they are written.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    rules: Vec<Rule>,
    /// Those whose connector is a pattern.
    any_connector: ByPeople,
    by_connector: HashMap<Arc<str>, ByPeople>,
}

/// Places in the list of rules. A rule stands under each name that it lists.
#[derive(Clone, Debug, Default)]
struct ByPeople {
    anyone: Vec<usize>,
    by_id: HashMap<Arc<str>, Vec<usize>>,
    by_group: HashMap<Arc<str>, Vec<usize>>,
    by_role: HashMap<Arc<str>, Vec<usize>>,
}

impl Rules {
    pub fn new(rules: Vec<Rule>) -> Self {
        let mut index = Self::default();
        for (place, rule) in rules.iter().enumerate() {
            for connector in rule.connectors() {
                if connector.contains('*') {
                    index.any_connector.add(rule, place);
                } else {
                    index.by_connector.entry(Arc::clone(connector)).or_default().add(rule, place);
                }
            }
        }
        Self { rules, ..index }
    }

    pub fn all(&self) -> &[Rule] {
        &self.rules
    }

    /// The first rule that covers the call.
    pub fn first(&self, caller: &Caller, tool: &Tool) -> Option<&Rule> {
        self.covering(caller, tool).min().map(|place| &self.rules[place])
    }

    /// Every rule that covers the call. One can come twice.
    pub fn every<'a>(&'a self, caller: &'a Caller, tool: &'a Tool) -> impl Iterator<Item = &'a Rule> {
        self.covering(caller, tool).map(|place| &self.rules[place])
    }

    fn covering<'a>(&'a self, caller: &'a Caller, tool: &'a Tool) -> impl Iterator<Item = usize> {
        self.near(caller, tool.connector.as_str())
            .filter(move |&place| self.rules[place].covers(caller, tool))
    }

    /// The first rule for this caller that names something of this kind on the connector.
    pub fn first_naming_some(&self, caller: &Caller, kind: Kind, connector: &str) -> Option<&Rule> {
        self.first_where(caller, connector, |rule| rule.names_some(kind, connector))
    }

    /// The first rule for this caller that names everything of this kind on the connector.
    pub fn first_naming_all(&self, caller: &Caller, kind: Kind, connector: &str) -> Option<&Rule> {
        self.first_where(caller, connector, |rule| rule.names_all(kind, connector))
    }

    fn first_where(&self, caller: &Caller, connector: &str, fits: impl Fn(&Rule) -> bool) -> Option<&Rule> {
        let fitting = self.near(caller, connector).filter(|&place| {
            let rule = &self.rules[place];
            fits(rule) && rule.is_for(caller)
        });
        fitting.min().map(|place| &self.rules[place])
    }

    /// Every rule that may be about this caller and this connector, and a few others.
    fn near<'a>(&'a self, caller: &'a Caller, connector: &str) -> impl Iterator<Item = usize> {
        let by_people = [Some(&self.any_connector), self.by_connector.get(connector)];
        by_people.into_iter().flatten().flat_map(move |by_people| by_people.near(caller))
    }
}

impl ByPeople {
    fn add(&mut self, rule: &Rule, place: usize) {
        let Some(subjects) = &rule.subjects else { return self.anyone.push(place) };
        for id in &subjects.ids {
            self.by_id.entry(id.as_str().into()).or_default().push(place);
        }
        for (index, names) in [(&mut self.by_group, &subjects.groups), (&mut self.by_role, &subjects.roles)] {
            for name in names {
                index.entry(Arc::clone(name)).or_default().push(place);
            }
        }
    }

    fn near<'a>(&'a self, caller: &'a Caller) -> impl Iterator<Item = usize> {
        fn under<'a>(
            index: &'a HashMap<Arc<str>, Vec<usize>>,
            names: &'a [Arc<str>],
        ) -> impl Iterator<Item = &'a usize> {
            // Most indices are empty, while a person may be in hundreds of groups.
            let names = if index.is_empty() { &[] } else { names };
            names.iter().filter_map(|name| index.get(name)).flatten()
        }
        let named = self.by_id.get(caller.subject().as_str()).into_iter().flatten();
        let grouped = under(&self.by_group, caller.groups());
        let in_role = under(&self.by_role, caller.roles());
        self.anyone.iter().chain(named).chain(grouped).chain(in_role).copied()
    }
}
