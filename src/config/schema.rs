//! The JSON Schema of the configuration, for editors and for checks without the gateway.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::Value;

use super::file::File;

/// The JSON Schema (2020-12) of the configuration file.
pub fn schema() -> Schema {
    let settings = SchemaSettings::draft2020_12()
        .with_transform(RecursiveTransform(without_null))
        .with_transform(RecursiveTransform(on_one_line));
    let mut schema = settings.into_generator().into_root_schema_for::<File>();
    schema.insert("title".to_owned(), "obo-gateway configuration".into());
    schema
}

/// A key without a value is a fault, while to schemars an optional key may be null.
fn without_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    let Some(Value::Array(choices)) = schema.get("anyOf") else { return };
    let real: Vec<Value> = choices.iter().filter(|choice| !is_null(choice)).cloned().collect();
    if let [Value::Object(only)] = real.as_slice() {
        schema.remove("anyOf");
        for (key, value) in only {
            schema.insert(key.clone(), value.clone());
        }
    }
}

/// A comment is broken into lines where our source is; an editor breaks it where its window is.
fn on_one_line(schema: &mut Schema) {
    if let Some(Value::String(description)) = schema.get_mut("description") {
        let paragraphs = description.split("\n\n").map(|paragraph| paragraph.replace('\n', " "));
        *description = paragraphs.collect::<Vec<_>>().join("\n\n");
    }
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").is_some_and(|kind| kind == "null")
}
