//! A report for people.

use std::fmt::Write as _;

use super::report::{
    CallerReport, CheckReport, ExchangeReport, IdentityReport, NearMissReport, PolicyReport, Report,
    ToolReport, Verdict,
};
use crate::unseen::disturbs;

use crate::gateway::catalog::CatalogLimit;

/// Where texts begin, to the right of what they are about.
const GUTTER: usize = 10;
/// Longest line, in characters. Tokens can hold names of a kilobyte each.
const LINE_CHARS_MAX: usize = 500;

impl Report {
    /// The report, stage by stage, and what it comes to. Each line ends with a line break.
    pub fn render(&self, colour: bool) -> String {
        let mut page = Page { text: String::new(), colour };
        page.stage("token", &self.token_lines());
        if let Some(caller) = &self.caller {
            page.stage("caller", &caller_lines(caller));
        }
        if let Some(tool) = &self.tool {
            page.stage("tool", &[tool_line(tool)]);
            page.stage("limits", &limit_lines(tool));
        }
        if let Some(identity) = &self.identity {
            page.stage("identity", &identity_lines(identity));
        }
        page.stage("policy", &self.policy_lines());
        page.stage("exchange", &[exchange_line(&self.exchange)]);
        page.blank();
        self.verdict(&mut page);
        page.text
    }

    fn token_lines(&self) -> Vec<String> {
        let checks = &self.token.checks;
        let mut lines: Vec<_> =
            self.token.issuer.iter().map(|issuer| format!("issuer {issuer}, by the token's `iss`")).collect();
        let of = |outcome: &str| checks.iter().filter(|check| check.outcome == outcome).collect::<Vec<_>>();
        let passed: Vec<_> = of("passed").iter().map(|check| check.check).collect();
        if !passed.is_empty() {
            lines.push(format!("passed: {}", passed.join(", ")));
        }
        let told = |word: &str, check: &CheckReport| {
            format!("{word}: {}: {}", check.check, check.why.as_deref().unwrap_or_default())
        };
        lines.extend(of("failed").into_iter().map(|check| told("failed", check)));
        lines.extend(of("not_checked").into_iter().map(|check| told("not checked", check)));
        if checks.is_empty() {
            lines.push("failed: it cannot be sent as a bearer token".to_owned());
        }
        lines
    }

    fn policy_lines(&self) -> Vec<String> {
        let Some(policy) = &self.policy else { return vec!["not asked".to_owned()] };
        let mut lines = vec![decision_line(policy)];
        lines.extend(policy.near_misses.iter().map(near_miss_line));
        let seen: Vec<_> = policy.arguments.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        let seen = if seen.is_empty() { "none".to_owned() } else { seen.join(", ") };
        lines.push(format!("it saw: arguments {seen}; client {}", policy.client));
        if !self.unseen_arguments.is_empty() {
            let unseen = self.unseen_arguments.join(", ");
            lines.push(format!("it did not see what the tool does not declare: {unseen}"));
        }
        if policy.hidden {
            lines.push(
                "lists do not show it to this caller, and a call is answered as if it were not there"
                    .to_owned(),
            );
        }
        lines
    }

    fn verdict(&self, page: &mut Page) {
        match (self.verdict, &self.refusal) {
            (Verdict::Allowed, _) if self.provided.is_empty() => page.verdict("32", "allowed"),
            (Verdict::Allowed, _) => {
                page.verdict("32", "allowed, provided that");
                for condition in &self.provided {
                    page.line(&format!("  - {condition}"));
                }
            }
            (verdict @ (Verdict::Refused | Verdict::CannotTell), Some(refusal)) => {
                let (code, word) = match verdict {
                    Verdict::CannotTell => ("33", "cannot tell"),
                    Verdict::Allowed | Verdict::Refused => ("31", "refused"),
                };
                page.verdict(code, &format!("{word}: {} ({})", refusal.code, refusal.status));
                page.line(&format!("  why       {}", refusal.detail));
                page.line(&format!("  remedy    {}", refusal.remedy));
            }
            (Verdict::Refused | Verdict::CannotTell, None) => {
                page.verdict("33", "cannot tell");
                page.line("  what was not checked has to be known first");
            }
        }
    }
}

fn caller_lines(caller: &CallerReport) -> Vec<String> {
    let tenant = caller.tenant.as_ref().map(|tenant| format!(" of tenant {tenant}"));
    let agent = caller.agent.as_ref().map_or("no named agent".to_owned(), |agent| format!("agent {agent}"));
    let mut about = vec![format!("scopes {}", listed(&caller.scopes))];
    about.push(format!("groups {}", listed(&caller.groups)));
    about.push(format!("roles {}", listed(&caller.roles)));
    let acr = caller.acr.iter().chain(&caller.acrs).map(String::as_str).collect::<Vec<_>>();
    if !acr.is_empty() {
        about.push(format!("signed in with {}", acr.join(" ")));
    }
    about.push(format!("the token expires in {}", duration(caller.expires_in_seconds)));
    vec![format!("person {}{} through {agent}", caller.subject, tenant.unwrap_or_default()), about.join("; ")]
}

fn tool_line(tool: &ToolReport) -> String {
    let matches = tool.matches.as_ref().map(|matches| format!(", by {matches}"));
    format!("{}{}", tool.call_name(), matches.unwrap_or_default())
}

fn limit_lines(tool: &ToolReport) -> Vec<String> {
    let line = |limit: &CatalogLimit| {
        let (whose, how_many, burst, name) = (limit.whose(), limit.how_many(), limit.burst, &limit.name);
        format!("{whose}: {how_many}, {burst} at once ({name})")
    };
    tool.limits.iter().map(line).collect()
}

fn identity_lines(identity: &IdentityReport) -> Vec<String> {
    let seen = match identity.mode {
        "app_only" => "the connector sees the application, and no person",
        _ => "the connector sees the person",
    };
    let target = [
        ("audience", &identity.audience),
        ("resource", &identity.resource),
        ("issued by", &identity.authorization_server),
    ];
    let target =
        target.into_iter().filter_map(|(word, text)| text.as_ref().map(|text| format!("{word} {text}; ")));
    vec![
        format!("{}: {seen}", identity.mode),
        format!("{}scopes {}", target.collect::<String>(), listed(&identity.scopes)),
    ]
}

fn decision_line(policy: &PolicyReport) -> String {
    let names = policy.policies.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    match (&policy.why, names.is_empty()) {
        (None, _) => format!("{} by {names}", policy.outcome),
        (Some(why), true) => format!("{}: {why}", policy.outcome),
        (Some(why), false) => format!("{}: {why}: {names}", policy.outcome),
    }
}

fn near_miss_line(missed: &NearMissReport) -> String {
    let people = missed.for_others.as_ref().map(|people| format!("for {people}"));
    let agents = missed.through_others.as_ref().map(|agents| format!("through {agents}"));
    let others: Vec<_> = people.into_iter().chain(agents).collect();
    format!("\"{}\" is about this tool, and only {}", missed.rule, others.join(", and "))
}

fn exchange_line(exchange: &ExchangeReport) -> String {
    if exchange.outcome == "obtained" {
        let granted = match &exchange.granted {
            Some(granted) => format!("with scopes {}", listed(granted)),
            None => "with scopes that the server does not tell".to_owned(),
        };
        let lifetime = match exchange.lifetime_seconds {
            Some(seconds) => format!("for {}", duration(seconds)),
            None => "for as long as the server does not tell".to_owned(),
        };
        return format!("obtained {granted}, {lifetime}");
    }
    let outcome = exchange.outcome.replace('_', " ");
    format!("{outcome}: {}", exchange.why.as_deref().unwrap_or_default())
}

fn listed(texts: &[String]) -> String {
    if texts.is_empty() { "none".to_owned() } else { texts.join(" ") }
}

/// Minutes where there are some: nobody needs the seconds then.
fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}

/// What is written.
struct Page {
    text: String,
    colour: bool,
}

impl Page {
    fn stage(&mut self, name: &str, lines: &[String]) {
        for (index, line) in lines.iter().enumerate() {
            let label = format!("{:<GUTTER$}", if index == 0 { name } else { "" });
            let label = if self.colour && index == 0 { format!("\x1b[1m{label}\x1b[0m") } else { label };
            self.text.push_str(&label);
            self.line(line);
        }
    }

    fn verdict(&mut self, code: &str, words: &str) {
        let words = plain(words);
        let words = if self.colour { format!("\x1b[{code}m{words}\x1b[0m") } else { words };
        self.text.push_str(&words);
        self.blank();
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(&plain(line));
        self.blank();
    }

    fn blank(&mut self) {
        self.text.push('\n');
    }
}

/// The text on one line, whatever a token or a command line says: what disturbs is written out, and what is too long is cut.
fn plain(text: &str) -> String {
    let mut shown = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == LINE_CHARS_MAX {
            shown.push('…');
            break;
        }
        match disturbs(character) {
            true => drop(write!(shown, "{}", character.escape_unicode())),
            false => shown.push(character),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_line_whatever_is_in_it() {
        assert_eq!(plain("a\u{1b}[31mb\nc"), "a\\u{1b}[31mb\\u{a}c");
        assert_eq!(plain("a\u{202e}b\u{2028}"), "a\\u{202e}b\\u{2028}");
        assert_eq!(plain("zoë – ✓"), "zoë – ✓");
        let long = plain(&"x".repeat(LINE_CHARS_MAX + 1));
        assert_eq!(long.chars().count(), LINE_CHARS_MAX + 1);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn durations_are_rough() {
        for (seconds, shown) in [(0, "0 s"), (119, "119 s"), (3_599, "59 min"), (86_400, "24 h")] {
            assert_eq!(duration(seconds), shown);
        }
    }
}
