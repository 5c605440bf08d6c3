//! What a policy comes to while part of a call is not known: without it, a list can be filtered before there are
//! arguments to look at.
//!
//! Sound in one direction, as it has to be: what some arguments would be allowed with is never hidden. A permit loses
//! the conditions that look at what is not known, and a forbid with such conditions counts for nothing.

use std::collections::BTreeSet;

use cedar_policy::{Effect, Policy};
use serde_json::{Map, Value, json};

/// What is not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unknown {
    /// The arguments of the call.
    Arguments,
    /// What the call is about, and its arguments. All that is known is its connector.
    Resource,
}

/// What is left of a policy.
pub enum Relaxed {
    /// All of it: it does not look at what is not known.
    Same,
    /// All of its conditions, and a head that fits a call about the connector itself.
    Moved(Box<Policy>),
    /// A permit that says yes whenever the written one could.
    Weaker(Box<Policy>),
    /// Nothing: it is a forbid, and may not apply.
    Gone,
}

/// What the conditions of a policy look at.
#[derive(Default, Debug)]
pub struct Looks {
    /// The attributes of `context`, by name.
    pub context: BTreeSet<String>,
    /// Whether it looks at `context` as a whole, so at any attribute.
    pub whole_context: bool,
    /// Whether it looks at `principal`.
    pub principal: bool,
    /// Whether it looks at `resource`.
    pub resource: bool,
}

impl Looks {
    /// What an expression of Cedar's JSON form looks at.
    fn of(expression: &Value) -> Self {
        let mut looks = Self::default();
        looks.add(expression);
        looks
    }

    /// What the conditions of a policy look at. `None` when it has no JSON form, which every policy that was read has.
    pub fn of_policy(policy: &Policy) -> Option<Self> {
        Some(Self::of(policy.to_json().ok()?.get("conditions")?))
    }

    fn add(&mut self, expression: &Value) {
        match expression {
            Value::Object(members) => {
                if let Some(attribute) = context_attribute(members) {
                    self.context.insert(attribute.to_owned());
                    return;
                }
                match members.get("Var").and_then(Value::as_str) {
                    Some("context") => self.whole_context = true,
                    Some("principal") => self.principal = true,
                    Some("resource") => self.resource = true,
                    Some(_) | None => {}
                }
                members.values().for_each(|member| self.add(member));
            }
            Value::Array(elements) => elements.iter().for_each(|element| self.add(element)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// Adds what others look at.
    pub fn extend(&mut self, others: Self) {
        self.context.extend(others.context);
        self.whole_context |= others.whole_context;
        self.principal |= others.principal;
        self.resource |= others.resource;
    }

    /// Whether the attribute of `context` is looked at.
    pub fn at(&self, attribute: &str) -> bool {
        self.whole_context || self.context.contains(attribute)
    }

    fn see(&self, unknown: Unknown) -> bool {
        let arguments = self.at("arguments");
        match unknown {
            Unknown::Arguments => arguments,
            Unknown::Resource => arguments || self.resource,
        }
    }
}

/// The attribute in `context.attribute` and `context has attribute`.
fn context_attribute(members: &Map<String, Value>) -> Option<&str> {
    let [(operator, operands)] = members.iter().collect::<Vec<_>>()[..] else { return None };
    let is_context = operands.get("left")? == &json!({ "Var": "context" });
    (is_context && (operator == "." || operator == "has")).then(|| operands.get("attr")?.as_str())?
}

/// What a policy comes to while `unknown` is not known. `None` when Cedar cannot read back what it wrote, which would be
/// a defect.
pub fn relax(policy: &Policy, unknown: Unknown) -> Option<Relaxed> {
    let mut json = policy.to_json().ok()?;
    let conditions = json.get_mut("conditions")?.as_array_mut()?;
    let sees = Looks::of(&Value::Array(conditions.clone())).see(unknown);
    match policy.effect() {
        Effect::Forbid if sees => return Some(Relaxed::Gone),
        Effect::Permit if sees => {
            let kept = conditions.iter().filter_map(|condition| without(condition, unknown)).collect();
            *conditions = kept;
        }
        Effect::Forbid | Effect::Permit => {}
    }
    match unknown {
        Unknown::Arguments if !sees => return Some(Relaxed::Same),
        Unknown::Arguments => {}
        // Whether the connector fits, the index tells.
        Unknown::Resource => json["resource"] = json!({ "op": "All" }),
    }
    let relaxed = Policy::from_json(Some(policy.id().clone()), json).ok()?;
    Some(if sees { Relaxed::Weaker(Box::new(relaxed)) } else { Relaxed::Moved(Box::new(relaxed)) })
}

/// A condition without the parts of it that look at what is not known: `when` parts that all have to hold, `unless`
/// parts none of which may.
fn without(condition: &Value, unknown: Unknown) -> Option<Value> {
    let operator = match condition.get("kind")?.as_str()? {
        "when" => "&&",
        "unless" => "||",
        _ => return None,
    };
    let mut parts = Vec::new();
    split(condition.get("body")?, operator, &mut parts);
    let kept = parts.into_iter().filter(|part| !Looks::of(part).see(unknown)).cloned();
    let body = kept.reduce(|left, right| json!({ operator: { "left": left, "right": right } }))?;
    Some(json!({ "kind": condition.get("kind")?, "body": body }))
}

fn split<'a>(expression: &'a Value, operator: &str, parts: &mut Vec<&'a Value>) {
    match expression.get(operator) {
        Some(operands) => {
            for side in ["left", "right"] {
                operands.get(side).into_iter().for_each(|operand| split(operand, operator, parts));
            }
        }
        None => parts.push(expression),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Policy {
        Policy::parse(None, text).expect("a policy of the test")
    }

    #[track_caller]
    fn check(text: &str, unknown: Unknown, expected: Option<&str>) {
        let plain = |policy: &Policy| policy.to_json().expect("JSON");
        let left = match relax(&policy(text), unknown).expect("a policy") {
            Relaxed::Same => Some(plain(&policy(text))),
            Relaxed::Moved(left) | Relaxed::Weaker(left) => Some(plain(&left)),
            Relaxed::Gone => None,
        };
        assert_eq!(left, expected.map(|expected| plain(&policy(expected))), "{text}");
    }

    #[test]
    fn a_permit_loses_what_looks_at_arguments_and_nothing_else() {
        let unknown = Unknown::Arguments;
        let same = "permit(principal, action, resource == Tool::\"a/b\") when { context.hour < 9 };";
        check(same, unknown, Some(same));
        check(
            "permit(principal, action, resource) when { context.hour < 9 && context.arguments has to && \
             context.arguments.to == \"x\" && resource.name == \"y\" };",
            unknown,
            Some("permit(principal, action, resource) when { context.hour < 9 && resource.name == \"y\" };"),
        );
        check(
            "permit(principal, action, resource) unless { context.arguments has cc || context.hour > 9 };",
            unknown,
            Some("permit(principal, action, resource) unless { context.hour > 9 };"),
        );
        check(
            "permit(principal, action, resource) when { context has arguments } when { context.hour < 9 };",
            unknown,
            Some("permit(principal, action, resource) when { context.hour < 9 };"),
        );
        // Whatever is done with all of the context may be done with its arguments.
        for whole in
            ["context == {}", "(if true then context else context).arguments has to", "[context].isEmpty()"]
        {
            let text = format!("permit(principal, action, resource) when {{ {whole} }};");
            check(&text, unknown, Some("permit(principal, action, resource);"));
        }
        check(
            "permit(principal, action, resource) when { context.arguments has to || context.hour < 9 };",
            unknown,
            Some("permit(principal, action, resource);"),
        );
    }

    #[test]
    fn a_forbid_that_may_not_apply_counts_for_nothing() {
        let unknown = Unknown::Arguments;
        check("forbid(principal, action, resource) when { context.arguments has to };", unknown, None);
        check("forbid(principal, action, resource) unless { context.arguments has to };", unknown, None);
        let same = "forbid(principal, action, resource) when { context.hour < 9 };";
        check(same, unknown, Some(same));
        check(
            "forbid(principal, action, resource) when { resource.name == \"x\" };",
            Unknown::Resource,
            None,
        );
    }

    #[test]
    fn what_the_call_is_about_can_be_unknown_as_well() {
        check(
            "permit(principal == Person::\"a/b\", action, resource in Connector::\"x\") when { context.hour < 9 && \
             resource.name like \"list*\" && context.arguments has to };",
            Unknown::Resource,
            Some("permit(principal == Person::\"a/b\", action, resource) when { context.hour < 9 };"),
        );
    }
}
