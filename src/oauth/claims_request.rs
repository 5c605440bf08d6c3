//! The `claims` parameter of a token request (OpenID Connect Core section 5.5): what the client can do, and what a
//! connector demands.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::strict_json;

/// The parameter's value: the demand, with the capabilities put into it. `None` when there is nothing to say.
///
/// # Errors
///
/// When the demand is not a JSON object with an object in `access_token`.
pub fn merged(capabilities: &[Arc<str>], demand: Option<&str>) -> Result<Option<String>, &'static str> {
    let mut claims = match demand {
        Some(demand) => {
            strict_json::parse_object(demand.as_bytes()).map_err(|_| "the demand is no JSON object")?
        }
        None if capabilities.is_empty() => return Ok(None),
        None => Map::new(),
    };
    if !capabilities.is_empty() {
        let access_token = claims.entry("access_token").or_insert_with(|| json!({}));
        let access_token = access_token.as_object_mut().ok_or("the demand's `access_token` is no object")?;
        let values: Vec<&str> = capabilities.iter().map(AsRef::as_ref).collect();
        access_token.insert("xms_cc".to_owned(), json!({ "values": values }));
    }
    Ok(Some(Value::Object(claims).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(capabilities: &[&str], demand: Option<&str>, expected: Option<Value>) {
        let capabilities: Vec<Arc<str>> = capabilities.iter().map(|text| Arc::from(*text)).collect();
        let merged = merged(&capabilities, demand).expect("a good demand");
        assert_eq!(merged.map(|text| serde_json::from_str::<Value>(&text).expect("JSON")), expected);
    }

    #[test]
    fn a_demand_and_what_the_client_can_do_are_merged() {
        let demand = r#"{"access_token":{"nbf":{"essential":true,"value":"1763800000"}}}"#;
        check(&[], None, None);
        check(&["cp1"], None, Some(json!({ "access_token": { "xms_cc": { "values": ["cp1"] } } })));
        check(&[], Some(demand), Some(serde_json::from_str(demand).expect("JSON")));
        let both = json!({ "access_token": {
            "nbf": { "essential": true, "value": "1763800000" },
            "xms_cc": { "values": ["cp1"] },
        }});
        check(&["cp1"], Some(demand), Some(both));
        check(
            &["cp1"],
            Some(r#"{"id_token":{}}"#),
            Some(json!({ "id_token": {}, "access_token": { "xms_cc": { "values": ["cp1"] } } })),
        );
    }

    #[test]
    fn what_is_no_demand_is_not_sent() {
        let cp1: [Arc<str>; 1] = ["cp1".into()];
        assert!(merged(&cp1, Some("[]")).is_err());
        assert!(merged(&cp1, Some("{")).is_err());
        assert!(merged(&cp1, Some(r#"{"access_token":1}"#)).is_err());
    }
}
