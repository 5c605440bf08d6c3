//! What an account at a service is called, for the person to know it by.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::unseen::is_unseen;

/// What services call an account, best first.
const USUAL: [&str; 5] = ["email", "preferred_username", "login", "name", "sub"];
/// Longest name that is shown.
const CHARACTERS_MAX: usize = 120;

/// The name that `claims` have for the account: the `configured` member, or the first of the usual ones.
pub fn name(claims: &Map<String, Value>, configured: Option<&str>) -> Option<Arc<str>> {
    let named = |name: &str| match claims.get(name)? {
        Value::String(text) => shown(text),
        Value::Number(number) => shown(&number.to_string()),
        _ => None,
    };
    match configured {
        Some(member) => named(member),
        None => USUAL.into_iter().find_map(named),
    }
}

/// What of a text from outside can be shown on one line.
fn shown(text: &str) -> Option<Arc<str>> {
    let text: String = text.chars().filter(|c| !is_unseen(*c)).take(CHARACTERS_MAX).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(claims: Value, configured: Option<&str>, expected: Option<&str>) {
        let claims = claims.as_object().expect("an object of the test").clone();
        assert_eq!(name(&claims, configured).as_deref(), expected, "{claims:?}");
    }

    #[test]
    fn an_account_is_called_what_the_service_calls_it() {
        check(json!({"sub": "1", "name": "Ada", "email": "ada@crm.example"}), None, Some("ada@crm.example"));
        check(json!({"login": "ada", "id": 7}), None, Some("ada"));
        check(json!({"login": "ada", "id": 7}), Some("id"), Some("7"));
        check(json!({"email": "ada@crm.example"}), Some("login"), None);
        check(json!({"email": ["a"], "sub": "1"}), None, Some("1"));
        check(json!({"email": " \u{202e}moc\u{0}\n ", "sub": "1"}), None, Some("moc"));
        check(json!({"email": "a\u{ad}d\u{61c}a\u{2028}", "sub": "1"}), None, Some("ada"));
        check(json!({"email": "\n"}), None, None);
        check(json!({"email": "x".repeat(500)}), None, Some(&"x".repeat(CHARACTERS_MAX)));
    }
}
