//! A step in words. Everything said here is read from what was seen, so that it stays true when the gateway changes.

use std::io::{self, Write};
use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use super::call::{APPLICATION, Seen, Token};
use super::json::lay_out;
use super::stage::Stage;
use super::steps::Step;
use super::terminal::{Paragraph, Style, Terminal};
use super::trail::Record;
use crate::demo::clock;
use crate::demo::connector::ReceivedRequest;

/// Members of answers that are not what a step is about.
const HIDDEN: [&str; 5] = ["@odata.context", "@odata.etag", "@odata.nextLink", "id", "innerError"];
/// Members of a refusal that an agent acts on, in the order of what it needs first.
const ESSENTIAL: [&str; 5] = ["code", "remedy", "consent_url", "connect_url", "confirm_url"];

/// Tells a step.
pub fn tell<W: Write>(
    terminal: &mut Terminal<W>,
    number: usize,
    step: &Step,
    seen: &Seen,
    faults: &[String],
    stage: &Stage,
) -> io::Result<()> {
    terminal.title(&number.to_string(), step.title, Some(faults.is_empty()))?;
    terminal.entry("browser", Style::Dim, &browser(seen))?;
    terminal.entry("agent", Style::Dim, &agent(step, terminal.text_width(), stage))?;
    terminal.entry("gateway", Style::Dim, &gateway(seen, stage))?;
    terminal.entry("connector", Style::Dim, &connector(seen, step, stage))?;
    terminal.entry("answer", Style::Dim, &answer(seen, terminal.text_width()))?;
    wrong(terminal, faults)?;
    terminal.blank()
}

/// Says what went wrong, if anything did.
pub fn wrong<W: Write>(terminal: &mut Terminal<W>, faults: &[String]) -> io::Result<()> {
    let faults: Vec<_> = faults.iter().map(|fault| Paragraph::new(Style::Bad, fault)).collect();
    terminal.entry("✗ wrong", Style::Bad, &faults)
}

/// The pages that the person came by.
fn browser(seen: &Seen) -> Vec<Paragraph> {
    let pages = seen.visit.iter().flat_map(|visit| &visit.pages);
    pages.map(|(place, heading)| Paragraph::plain(format!("{place}: “{heading}”")).led_by("→ ")).collect()
}

fn agent(step: &Step, width: usize, stage: &Stage) -> Vec<Paragraph> {
    let call = &step.call;
    let mut told = vec![Paragraph::new(Style::Usable, format!("{} {}", call.method, call.target))];
    match (&call.body, call.headers.is_empty()) {
        (Some(body), false) => told.push(mcp_request(body)),
        (Some(body), true) => told.extend(indented(body, width)),
        (None, _) => {}
    }
    if let Some(token) = Token::read(&call.token) {
        let name = stage.name_of(&token.person);
        let agent = token.agent.as_deref().unwrap_or("an unnamed agent");
        told.push(Paragraph::plain(format!("{name}, by {agent}; {}", about_token(&token, stage))));
    }
    told
}

/// Whom a token is for, and how long it lasts.
fn about_token(token: &Token, stage: &Stage) -> String {
    let gateway = &stage.authorization_server.settings().gateway;
    let audience = if token.audience == gateway.client_id { &gateway.name } else { &token.audience };
    let left = token.expires - clock::now();
    let minutes = (left.abs() + 30) / 60;
    let life = if left > 0 { format!("{minutes} min left") } else { format!("expired {minutes} min ago") };
    format!("token for {audience}, {life}")
}

fn gateway(seen: &Seen, stage: &Stage) -> Vec<Paragraph> {
    let Some(record) = &seen.record else { return vec![Paragraph::new(Style::Bad, "left no record")] };
    let mut told = Vec::new();
    match (record.person(), record.text("/status_detail")) {
        (Some(person), _) => {
            let agent = record.agent().unwrap_or("an unnamed agent");
            let issuer = record.text("/actor/idp/name").unwrap_or("an unnamed issuer");
            told.push(done(format!(
                "verified {}'s token, issued to {agent} by `{issuer}`",
                first_name(person, stage)
            )));
        }
        (None, Some(why)) => told.push(refused(format!("refused the token: {why}"))),
        (None, None) => told.push(refused("did not learn who called")),
    }
    let rule = record.text("/authorizations/0/policy/name");
    if let (Some(tool), Some(rule)) = (record.tool(), rule) {
        told.push(done(format!("allowed {tool} by the rule `{rule}`")));
        told.extend(credential(record, seen));
    }
    if rule.is_none() && record.person().is_some() {
        told.push(refused(format!("denied the call: {}", record.text("/status_detail").unwrap_or_default())));
    }
    if record.outcome() == Some("confirmation_required") {
        told.push(refused("held the call back until its person has seen it and agreed"));
    }
    if let Some(added) = seen.added() {
        told.push(done(format!("left a record; the gateway added {}", time(added))));
    }
    told
}

/// Where the connector's token came from, or why there is none.
fn credential(record: &Record, seen: &Seen) -> Option<Paragraph> {
    record.tool()?;
    let audience = record.text("/unmapped/obo/audience").unwrap_or("the connector");
    let scopes = record.value().pointer("/unmapped/obo/scopes_requested").and_then(Value::as_array);
    let scopes: Vec<&str> = scopes
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|scope| scope.strip_prefix(audience).map_or(scope, |name| name.trim_start_matches('/')))
        .collect();
    let good_for = format!("{} at {audience}", scopes.join(" "));
    let took =
        record.microseconds("obtained_after_us").map(|took| format!(" ({})", time(took))).unwrap_or_default();
    Some(match (record.cache(), seen.exchanges.last()) {
        (Some("hit"), None) if record.text("/unmapped/obo/identity") == Some("connection") => {
            done(format!("took the token of the account that the person connected{took}"))
        }
        (Some("hit"), None) => done(format!("cache hit for {good_for}, no exchange{took}")),
        (Some(_), Some(_)) if record.text("/unmapped/obo/identity") == Some("app_only") => {
            done(format!("got a token of the application itself, good for {good_for}{took}"))
        }
        (Some(_), Some(_)) => done(format!("exchanged it for a token good for {good_for}{took}")),
        (None, Some(exchange)) => {
            let why = record.text("/status_detail").or(exchange.error).unwrap_or("no answer");
            refused(format!("asked for a token good for {good_for}: {why}"))
        }
        (None, None) => refused(record.text("/status_detail").unwrap_or("had no token for it")),
        (cache, _) => Paragraph::plain(format!("cache: {}", cache.unwrap_or("not asked"))),
    })
}

fn connector(seen: &Seen, step: &Step, stage: &Stage) -> Vec<Paragraph> {
    if seen.received.is_empty() {
        return vec![Paragraph::new(Style::Dim, "received nothing")];
    }
    seen.received.iter().flat_map(|request| received(request, seen, step, stage)).collect()
}

fn received(request: &ReceivedRequest, seen: &Seen, step: &Step, stage: &Stage) -> [Paragraph; 2] {
    let token = request.bearer().as_deref().and_then(Token::read);
    let whose = token.as_ref().map_or("nobody", |token| first_name(&token.person, stage));
    let own = match request.contains(&step.call.token) {
        true => Paragraph::new(Style::Bad, "the agent's own token came along"),
        false => done("the agent's own token did not come along"),
    };
    let status = request.status.map_or_else(|| "nothing".to_owned(), |status| status.as_u16().to_string());
    let latency = seen.record.as_ref().and_then(|record| record.microseconds("connector_latency_us"));
    let latency = latency.map(|latency| format!(" ({})", time(latency))).unwrap_or_default();
    let answered = match &request.caller {
        Some(caller) => {
            let permissions = caller.permissions.join(", ");
            format!("verified {whose}'s token ({permissions}), and answered {status}{latency}")
        }
        None => format!("answered {status}{latency} before it looked at {whose}'s token"),
    };
    [done(answered), own]
}

fn answer(seen: &Seen, width: usize) -> Vec<Paragraph> {
    let answer = &seen.answer;
    let style = match answer.status {
        status if status.is_success() => Style::Good,
        _ => Style::Notable,
    };
    let mut told = vec![Paragraph::new(style, status_line(answer.status))];
    for name in ["Retry-After", "Obo-Identity-Mode"] {
        if let Some(value) = answer.header(name) {
            told.push(Paragraph::plain(value).led_by(format!("{name}: ")));
        }
    }
    let Some(body) = answer.json() else { return told };
    if body.get("jsonrpc").is_some() {
        told.extend(mcp_answer(&body));
        return told;
    }
    let is_refusal = answer.header("content-type") == Some("application/problem+json");
    if !is_refusal {
        told.extend(indented(&body, width));
        return told;
    }
    let name_width = ESSENTIAL.iter().filter(|name| body.get(*name).is_some()).map(|name| name.len()).max();
    let name_width = name_width.unwrap_or_default();
    for name in ESSENTIAL {
        if let Some(text) = body.get(name).and_then(Value::as_str) {
            let style = if name.ends_with("_url") { Style::Usable } else { Style::Plain };
            told.push(Paragraph::new(style, text).led_by(format!("{name:<name_width$}  ")));
        }
    }
    told
}

/// What an MCP request asks for, without what every one says.
fn mcp_request(body: &Value) -> Paragraph {
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let arguments = body.pointer("/params/arguments").map(ToString::to_string).unwrap_or_default();
    let told = format!("{} {} {arguments}", text("/method"), text("/params/name"));
    Paragraph::plain(told.trim_end())
}

/// What an MCP client makes of an answer: the names in a list, the text of a result, or what is wrong.
fn mcp_answer(body: &Value) -> Option<Paragraph> {
    if let Some(tools) = body.pointer("/result/tools").and_then(Value::as_array) {
        let names: Vec<&str> = tools.iter().filter_map(|tool| tool.get("name")?.as_str()).collect();
        return Some(Paragraph::plain(names.join(", ")).led_by("tools: "));
    }
    let text = body.pointer("/result/content/0/text").or_else(|| body.pointer("/error/message"));
    text.and_then(Value::as_str).map(Paragraph::plain)
}

fn status_line(status: StatusCode) -> String {
    format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default())
}

/// JSON as paragraphs.
pub fn indented(value: &Value, width: usize) -> Vec<Paragraph> {
    let lines = lay_out(value, width, &HIDDEN).into_iter();
    lines.map(|(indent, line)| Paragraph::plain(line).led_by(" ".repeat(indent)).hanging(2)).collect()
}

fn done(text: impl Into<String>) -> Paragraph {
    Paragraph::plain(text).led_by("→ ")
}

fn refused(text: impl Into<String>) -> Paragraph {
    Paragraph::new(Style::Notable, text).led_by("✗ ")
}

/// A person's first name.
pub fn first_name<'a>(oid: &'a str, stage: &'a Stage) -> &'a str {
    match stage.name_of(oid) {
        APPLICATION => APPLICATION,
        name => name.split(' ').next().unwrap_or(oid),
    }
}

/// A time with its unit, and a space between them that does not break.
pub fn time(time: Duration) -> String {
    format!("{}\u{a0}ms", milliseconds(time))
}

/// A time as people compare them: `0.3`, `12`.
pub fn milliseconds(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1_000.0;
    if milliseconds < 10.0 { format!("{milliseconds:.1}") } else { format!("{milliseconds:.0}") }
}
