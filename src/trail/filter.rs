//! Which records are asked for.

use memchr::memmem::Finder;

use super::record::{Record, is_person};
use crate::policy::ToolPattern;

/// What records have to be like: each list that is not empty must hold what the record says.
#[derive(Default)]
pub struct Filter {
    people: Wanted,
    agents: Wanted,
    connectors: Wanted,
    outcomes: Wanted,
    codes: Wanted,
    request_ids: Wanted,
    tools: Vec<ToolPattern>,
    /// What stands in every line of one of the tools.
    tool_needles: Option<Vec<Finder<'static>>>,
    /// Not before this time, in milliseconds since 1970.
    since: Option<u64>,
    /// Before this time, in milliseconds since 1970.
    until: Option<u64>,
}

/// Values of which a record must have one, and what its line must then hold: a line that does not need not be parsed.
#[derive(Default)]
struct Wanted {
    values: Vec<String>,
    needles: Vec<Finder<'static>>,
}

impl Wanted {
    fn new(values: Vec<String>) -> Self {
        let needles = values.iter().map(|value| needle(value)).collect();
        Self { values, needles }
    }

    fn holds(&self, is_value: impl Fn(&str) -> bool) -> bool {
        self.values.is_empty() || self.values.iter().any(|value| is_value(value))
    }

    fn may_be_in(&self, line: &[u8]) -> bool {
        self.needles.is_empty() || found(&self.needles, line)
    }
}

fn found(needles: &[Finder<'static>], line: &[u8]) -> bool {
    needles.iter().any(|needle| needle.find(line).is_some())
}

/// A text as it stands in a line.
fn needle(value: &str) -> Finder<'static> {
    Finder::new(&serde_json::Value::from(value).to_string()).into_owned()
}

impl Filter {
    /// Records about one of these people.
    pub fn people(mut self, people: Vec<String>) -> Self {
        self.people = Wanted::new(people);
        self
    }

    /// Records of one of these agents.
    pub fn agents(mut self, agents: Vec<String>) -> Self {
        self.agents = Wanted::new(agents);
        self
    }

    /// Records of one of these connectors.
    pub fn connectors(mut self, connectors: Vec<String>) -> Self {
        self.connectors = Wanted::new(connectors);
        self
    }

    /// Records with one of these outcomes.
    pub fn outcomes(mut self, outcomes: Vec<String>) -> Self {
        self.outcomes = Wanted::new(outcomes);
        self
    }

    /// Records with one of these codes: of a refusal, or the status that the agent got.
    pub fn codes(mut self, codes: Vec<String>) -> Self {
        let needles = codes.iter().map(|code| match is_status(code) {
            true => Finder::new(code).into_owned(),
            false => needle(code),
        });
        self.codes = Wanted { needles: needles.collect(), values: codes };
        self
    }

    /// Records of what ended not before one time and before the other, in milliseconds since 1970.
    pub fn period(self, since: Option<u64>, until: Option<u64>) -> Self {
        Self { since, until, ..self }
    }

    /// Records of one of these calls.
    pub fn request_ids(mut self, ids: Vec<String>) -> Self {
        self.request_ids = Wanted::new(ids);
        self
    }

    /// Records of one of these tools: `connector/tool`, where `*` stands for any run of characters.
    pub fn tools(mut self, tools: Vec<ToolPattern>) -> Self {
        // A pattern of which nothing is said as it is needs every line.
        let needles: Option<Vec<_>> = tools
            .iter()
            .map(|tool| {
                [tool.name(), tool.connector()].into_iter().find(|part| !part.contains('*')).map(needle)
            })
            .collect();
        self.tool_needles = needles.filter(|needles| !needles.is_empty());
        self.tools = tools;
        self
    }

    /// Whether a line can be a record that is asked for: quick, and wrong in one way alone.
    pub fn may_match(&self, line: &[u8]) -> bool {
        self.people.may_be_in(line)
            && self.request_ids.may_be_in(line)
            && self.agents.may_be_in(line)
            && self.outcomes.may_be_in(line)
            && self.codes.may_be_in(line)
            && self.connectors.may_be_in(line)
            && self.tool_needles.as_ref().is_none_or(|needles| found(needles, line))
    }

    /// Whether a record is asked for.
    pub fn matches(&self, record: &Record<'_>) -> bool {
        let status = record.status();
        let is_code = |code: &str| match is_status(code) {
            true => status.is_some_and(|status| status.to_string() == code),
            false => record.code() == Some(code),
        };
        let is_tool = |tool: &ToolPattern| match (record.connector(), record.tool()) {
            (Some(connector), Some(name)) => tool.matches_names(connector, name),
            _ => false,
        };
        self.since.is_none_or(|since| record.time >= since)
            && self.until.is_none_or(|until| record.time < until)
            && self.people.holds(|person| is_person(record, person))
            && self.agents.holds(|agent| record.agent() == Some(agent))
            && self.connectors.holds(|connector| record.connector() == Some(connector))
            && self.outcomes.holds(|outcome| record.outcome() == outcome)
            && self.codes.holds(is_code)
            && self.request_ids.holds(|id| record.is_of_request(id))
            && (self.tools.is_empty() || self.tools.iter().any(is_tool))
    }
}

fn is_status(code: &str) -> bool {
    code.len() == 3 && code.bytes().all(|digit| digit.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"class_uid":6003,"time":100,"status_code":"policy_denied","actor":{"user":{"uid":"Zo\u00eb \"Z\""},"app_uid":"planner"},"http_response":{"code":403},"unmapped":{"obo":{"outcome":"policy_denied","connector":"mail","tool":"send_message"}},"metadata":{"uid":"b-1"}}"#;

    #[track_caller]
    fn check(filter: Filter, expected: bool) {
        // As the gateway writes it, and not as somebody else might.
        let line = LINE.replace("\\u00eb", "ë");
        let record = Record::parse(line.as_bytes()).expect("a record");
        assert_eq!(filter.matches(&record), expected);
        assert!(!expected || filter.may_match(line.as_bytes()), "it would not have been looked at");
    }

    fn list(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    fn tools(patterns: &[&str]) -> Vec<ToolPattern> {
        patterns.iter().map(|pattern| ToolPattern::of_resource(pattern).expect("a pattern")).collect()
    }

    #[test]
    fn each_filter_takes_any_of_its_values() {
        let all = Filter::default;
        check(all(), true);
        check(all().people(list(&["ada", "Zoë \"Z\""])), true);
        check(all().people(list(&["ada", "Zoë"])), false);
        check(all().agents(list(&["planner"])), true);
        check(all().agents(list(&["plan"])), false);
        check(all().connectors(list(&["mail"])), true);
        check(all().outcomes(list(&["answered"])), false);
        check(all().outcomes(list(&["answered", "policy_denied"])), true);
        check(all().codes(list(&["policy_denied"])), true);
        check(all().codes(list(&["403"])), true);
        check(all().codes(list(&["100"])), false);
        check(all().request_ids(list(&["b-1"])), true);
        check(all().request_ids(list(&["b-2"])), false);
    }

    #[test]
    fn filters_hold_together() {
        let mail = || Filter::default().connectors(list(&["mail"]));
        check(mail().outcomes(list(&["policy_denied"])), true);
        check(mail().outcomes(list(&["answered"])), false);
    }

    #[test]
    fn tools_are_named_in_both_parts_or_with_stars() {
        for (pattern, expected) in [
            ("mail/send_message", true),
            ("mail/*", true),
            ("*/send_*", true),
            ("*/*", true),
            ("mail/list_*", false),
            ("notes/*", false),
        ] {
            check(Filter::default().tools(tools(&[pattern])), expected);
        }
        check(Filter::default().tools(tools(&["notes/*", "*/send_message"])), true);
    }

    #[test]
    fn a_period_holds_its_beginning_and_not_its_end() {
        let period = |since, until| Filter::default().period(since, until);
        check(period(Some(100), None), true);
        check(period(Some(101), None), false);
        check(period(None, Some(101)), true);
        check(period(None, Some(100)), false);
    }
}
