//! JSON for people: on one line where it fits, and without what does not matter here.

use serde_json::Value;

use super::terminal::columns;

/// Lines of JSON, each with its indentation. Members that `hidden` names are replaced by an ellipsis.
pub fn lay_out(value: &Value, width: usize, hidden: &[&str]) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    Layout { width, hidden, lines: &mut lines }.put(value, 0, "", "");
    lines
}

struct Layout<'a> {
    width: usize,
    hidden: &'a [&'a str],
    lines: &'a mut Vec<(usize, String)>,
}

impl Layout<'_> {
    fn put(&mut self, value: &Value, indent: usize, before: &str, after: &str) {
        let whole = format!("{before}{}{after}", self.flat(value));
        let has_parts = match value {
            Value::Array(items) => !items.is_empty(),
            Value::Object(members) => !members.is_empty(),
            _ => false,
        };
        if !has_parts || indent + columns(&whole) <= self.width {
            self.lines.push((indent, whole));
            return;
        }
        let (open, close) = if value.is_array() { ("[", "]") } else { ("{", "}") };
        self.lines.push((indent, format!("{before}{open}")));
        let parts = self.parts(value);
        let last = parts.len() - 1;
        for (index, part) in parts.into_iter().enumerate() {
            let after = if index == last { "" } else { "," };
            match part {
                Part::Value { name, value } => self.put(value, indent + 2, &name, after),
                Part::Hidden => self.lines.push((indent + 2, "…".to_owned())),
            }
        }
        self.lines.push((indent, format!("{close}{after}")));
    }

    fn flat(&self, value: &Value) -> String {
        let joined = || {
            let parts = self.parts(value).into_iter().map(|part| match part {
                Part::Value { name, value } => format!("{name}{}", self.flat(value)),
                Part::Hidden => "…".to_owned(),
            });
            parts.collect::<Vec<_>>().join(", ")
        };
        match value {
            Value::Array(items) if items.is_empty() => "[]".to_owned(),
            Value::Array(_) => format!("[{}]", joined()),
            Value::Object(members) if members.is_empty() => "{}".to_owned(),
            Value::Object(_) => format!("{{ {} }}", joined()),
            _ => value.to_string(),
        }
    }

    /// The items or the members, and in the place of hidden ones, at the end, a mark.
    fn parts<'v>(&self, value: &'v Value) -> Vec<Part<'v>> {
        match value {
            Value::Array(items) => {
                items.iter().map(|value| Part::Value { name: String::new(), value }).collect()
            }
            Value::Object(members) => {
                let is_hidden = |name: &str| self.hidden.contains(&name);
                let shown = members.iter().filter(|(name, _)| !is_hidden(name));
                let mut parts: Vec<_> = shown
                    .map(|(name, value)| Part::Value {
                        name: format!("{}: ", Value::from(name.as_str())),
                        value,
                    })
                    .collect();
                if parts.len() < members.len() {
                    parts.push(Part::Hidden);
                }
                parts
            }
            _ => Vec::new(),
        }
    }
}

/// A part of an array or of an object.
enum Part<'a> {
    Value { name: String, value: &'a Value },
    Hidden,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(value: &Value, width: usize, hidden: &[&str], expected: &[(usize, &str)]) {
        let lines = lay_out(value, width, hidden);
        let lines: Vec<(usize, &str)> = lines.iter().map(|(indent, line)| (*indent, line.as_str())).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_fits_is_on_one_line() {
        let value = json!({ "a": [1, 2], "b": { "c": "x\ny" }, "d": {}, "e": [] });
        check(&value, 80, &[], &[(0, r#"{ "a": [1, 2], "b": { "c": "x\ny" }, "d": {}, "e": [] }"#)]);
        check(
            &value,
            20,
            &[],
            &[
                (0, "{"),
                (2, r#""a": [1, 2],"#),
                (2, r#""b": {"#),
                (4, r#""c": "x\ny""#),
                (2, "},"),
                (2, r#""d": {},"#),
                (2, r#""e": []"#),
                (0, "}"),
            ],
        );
    }

    #[test]
    fn what_is_hidden_leaves_a_mark() {
        let value = json!({ "id": 1, "a": { "id": 2 } });
        check(&value, 80, &["id"], &[(0, r#"{ "a": { … }, … }"#)]);
        check(&value, 10, &["id"], &[(0, "{"), (2, r#""a": {"#), (4, "…"), (2, "},"), (2, "…"), (0, "}")]);
    }
}
