use serde_json::{Value, json};

use super::*;

fn schema_value() -> Value {
    serde_json::to_value(schema()).expect("a schema is JSON")
}

/// The schema itself, or the one that it refers to.
fn resolved<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    match schema.get("$ref").and_then(Value::as_str) {
        Some(reference) => root.pointer(reference.trim_start_matches('#')).expect("a reference within"),
        None => schema,
    }
}

/// Every schema within a schema.
fn each<'a>(schema: &'a Value, found: &mut Vec<&'a Value>) {
    match schema {
        Value::Object(members) => {
            found.push(schema);
            members.values().for_each(|member| each(member, found));
        }
        Value::Array(elements) => elements.iter().for_each(|element| each(element, found)),
        _ => {}
    }
}

#[test]
fn the_schema_is_of_2020_12_and_has_no_nulls() {
    let schema = schema_value();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["title"], "obo-gateway configuration");
    assert!(!schema.to_string().contains("\"null\""), "{schema:#}");
    assert!(!schema.to_string().contains("null]"), "{schema:#}");
    assert!(!schema.to_string().contains("\"default\""), "{schema:#}");
}

#[test]
fn every_key_is_described_and_no_other_is_allowed() {
    let schema = schema_value();
    let mut all = Vec::new();
    each(&schema, &mut all);
    let structs: Vec<&&Value> =
        all.iter().filter(|schema| schema.get("properties").is_some_and(Value::is_object)).collect();
    assert_eq!(structs.len(), 37);
    for structure in structs {
        assert_eq!(structure["additionalProperties"], json!(false), "{structure:#}");
        for (key, property) in structure["properties"].as_object().expect("properties") {
            assert!(property.get("description").is_some(), "{key}: {property:#}");
        }
    }
}

#[test]
fn what_is_required_is_marked_so() {
    let schema = schema_value();
    let required = |name: &str| schema["$defs"][name]["required"].clone();
    assert_eq!(schema["required"], json!(["listen", "issuers", "connectors", "audit"]));
    assert_eq!(required("Issuer"), json!(["kind", "audiences"]));
    assert_eq!(required("Exchange"), json!(["grant", "client_id", "client_auth"]));
    assert_eq!(
        required("ResourceAuthorizationServer"),
        json!(["issuer", "token_endpoint", "client_id", "client_auth"])
    );
    assert_eq!(required("Connector"), json!(["kind", "path", "upstream"]));
    let one_of = ["tools", "prompts", "resources"].map(|key| json!({ "required": [key] }));
    assert_eq!(schema["$defs"]["Rule"]["anyOf"], json!(one_of));
    assert_eq!(required("Tls"), json!(["certificate", "key"]));
    assert_eq!(schema["properties"]["audit"]["required"], json!(["file"]));
    assert_eq!(required("Tool"), Value::Null);
}

#[test]
fn closed_sets_are_enums() {
    let schema = schema_value();
    let property = |structure: &str, key: &str| {
        resolved(&schema["$defs"][structure]["properties"][key], &schema)["enum"].clone()
    };
    assert_eq!(property("Issuer", "kind"), json!(["entra", "oidc"]));
    assert_eq!(
        property("Exchange", "grant"),
        json!(["on_behalf_of", "token_exchange", "jwt_bearer", "id_jag"])
    );
    assert_eq!(property("Exchange", "target"), json!(["scope", "audience", "resource"]));
    assert_eq!(schema["$defs"]["SecretMethod"]["enum"], json!(["post", "basic"]));
    assert_eq!(property("Connector", "kind"), json!(["rest", "mcp"]));
    assert_eq!(property("Tool", "identity"), json!(["on_behalf_of", "connection", "app_only"]));
}

/// Keys of the examples, and whether the schema knows them where they stand.
fn check_known(value: &Value, part: &Value, root: &Value, path: &str) {
    let part = resolved(part, root);
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                let below = part["properties"]
                    .get(key)
                    .or_else(|| part.get("additionalProperties").filter(|additional| additional.is_object()));
                let below = below.unwrap_or_else(|| panic!("{path}.{key} is not in the schema"));
                check_known(value, below, root, &format!("{path}.{key}"));
            }
        }
        Value::Array(elements) => {
            elements.iter().for_each(|element| check_known(element, &part["items"], root, path));
        }
        other => {
            let kind = match other {
                Value::Bool(_) => "boolean",
                Value::Number(_) => "integer",
                _ => "string",
            };
            let kinds =
                part["type"].as_array().map_or_else(|| vec![&part["type"]], |kinds| kinds.iter().collect());
            assert!(kinds.iter().any(|own| *own == kind), "{path}: {part:#}");
            if let Some(words) = part["enum"].as_array() {
                assert!(words.contains(other), "{path}: {other}");
            }
        }
    }
}

#[test]
fn the_examples_fit_the_schema() {
    let schema = schema_value();
    for name in
        ["confirm.yaml", "connection.yaml", "demo.yaml", "entra-graph.yaml", "keycloak.yaml", "limits.yaml"]
    {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
        let text = std::fs::read_to_string(path).expect("a shipped example");
        let value: Value = serde_saphyr::from_str(&text).expect("an example is YAML");
        check_known(&value, &schema, &schema, name);
    }
}
