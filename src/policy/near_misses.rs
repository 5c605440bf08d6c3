//! Rules that almost cover a call: what an operator looks for who did not expect a denial.

use super::{Policy, Rule};
use crate::identity::Caller;
use crate::tool::Tool;

/// A rule that allows a tool, and not to this caller.
#[derive(Clone, Copy, Debug)]
pub struct NearMiss<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// Whether the person is not one of its people.
    pub is_for_others: bool,
    /// Whether the agent is not one of its agents.
    pub is_through_others: bool,
}

impl Policy {
    /// The rules that allow this tool to others, or through others.
    pub fn near_misses(&self, caller: &Caller, tool: &Tool) -> Vec<NearMiss<'_>> {
        let about = self.rules().iter().filter(|rule| rule.is_about(tool) && !rule.is_for(caller));
        let missed = about.map(|rule| NearMiss {
            rule,
            is_for_others: !rule.is_for_person(caller),
            is_through_others: !rule.is_for_agent(caller),
        });
        missed.collect()
    }
}
