//! `openapi`: tools of a REST connector that are taken from an OpenAPI 3 document.
//!
//! An operation becomes a tool by its `operationId`, method and path; its scopes are those of its security requirement, and
//! what it does is told by its method. What is in the document and cannot become a tool is a fault, unless it is left out by
//! `include` or `exclude`: nobody should believe that something can be called which cannot, or the other way round.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::files::{NamedFile, text};
use crate::config::at::At;
use crate::config::file::{Annotations, Named, OpenApi, Tool};
use crate::policy::glob;
use crate::strict_json;

/// Largest document that is read. That of all of Microsoft Graph is ten times as large; its parts by subject are below it.
const DOCUMENT_BYTES_MAX: usize = 8 * 1_048_576;
/// Most tools that one document gives.
const TOOLS_MAX: usize = 2_000;
/// Most references that are followed from one place. A chain is mostly of one, and a circle has no end.
const REFERENCES_MAX: usize = 8;
/// Most faults that are told at once. Where there are more, they are of a kind.
const FAULTS_MAX: usize = 20;
/// The methods that an operation can have (OpenAPI 3.1, Path Item Object), but TRACE, which is not served.
const METHODS: [&str; 7] = ["get", "put", "post", "delete", "options", "head", "patch"];

/// The tools of a document and those that are written beside it. Of a tool that is in both, what is written counts, key by
/// key.
pub fn tools(openapi: &OpenApi, written: Option<&Named<Tool>>, at: &At<'_>) -> Option<Named<Tool>> {
    let file_at = at.key("file");
    let path = file_at.required(openapi.file.as_deref(), "name the OpenAPI 3 document, like `mail.yaml`")?;
    let include = patterns(openapi.include.as_deref(), &at.key("include"));
    let exclude = patterns(openapi.exclude.as_deref(), &at.key("exclude"));
    let text = text(NamedFile { at: &file_at, path }, DOCUMENT_BYTES_MAX)?;
    let document = match parse(&text) {
        Ok(document) => document,
        Err(why) => {
            file_at.fault_found(format_args!("is not an OpenAPI 3 document: {why}"));
            return None;
        }
    };
    let mut import = Import { document: &document, include: include?, exclude: exclude?, faults: Vec::new() };
    let mut imported = import.tools();
    for fault in import.faults.iter().take(FAULTS_MAX) {
        file_at.fault_found(fault);
    }
    if let Some(more) = import.faults.len().checked_sub(FAULTS_MAX).filter(|more| *more > 0) {
        file_at.fault_found(format_args!("has {more} more faults of this kind"));
    }
    import.faults.is_empty().then_some(())?;
    if imported.len() > TOOLS_MAX {
        file_at.fault_found(format_args!("has more than {TOOLS_MAX} operations: take some by `include`"));
        return None;
    }
    if imported.is_empty() {
        file_at.fault_found("has no operation that `include` and `exclude` leave");
        return None;
    }
    for (name, tool) in written.map(|written| written.0.as_slice()).unwrap_or_default() {
        match imported.iter_mut().find(|(imported, _)| imported == name) {
            Some((_, imported)) => *imported = tool.over(imported),
            None => imported.push((name.clone(), tool.clone())),
        }
    }
    Some(Named(imported))
}

/// JSON or YAML, in which nothing is written twice.
fn parse(text: &str) -> Result<Value, String> {
    let document = match text.trim_start().starts_with('{') {
        true => strict_json::parse(text.as_bytes()).map_err(|error| error.to_string())?,
        false => serde_saphyr::from_str::<Value>(text)
            .map_err(|error| error.to_string().lines().next().unwrap_or("it is no YAML").to_owned())?,
    };
    match document.get("openapi").and_then(Value::as_str) {
        Some(version) if version.starts_with("3.") => Ok(document),
        Some(version) => Err(format!("`openapi` is {version:?}, and must be a version 3")),
        None => Err("it has no `openapi: 3.…`".to_owned()),
    }
}

/// What an operation can be chosen by.
enum Pattern {
    /// Its `operationId`, where `*` stands for any characters.
    Id(String),
    /// One of its tags.
    Tag(String),
    /// Its method and path, where `*` stands for any characters.
    Operation(String),
}

fn patterns(texts: Option<&[String]>, at: &At<'_>) -> Option<Option<Vec<Pattern>>> {
    let Some(texts) = texts else { return Some(None) };
    if texts.is_empty() {
        at.fault("is an empty list: name operations, or leave the key out");
        return None;
    }
    let pattern = |text: &String| match (text.strip_prefix("tag:"), text.split_once(' ')) {
        (Some(tag), _) => Pattern::Tag(tag.to_owned()),
        (None, Some((method, path))) => Pattern::Operation(format!("{} {path}", method.to_ascii_uppercase())),
        (None, None) => Pattern::Id(text.clone()),
    };
    Some(Some(texts.iter().map(pattern).collect()))
}

struct Import<'a> {
    document: &'a Value,
    include: Option<Vec<Pattern>>,
    exclude: Option<Vec<Pattern>>,
    faults: Vec<String>,
}

impl<'a> Import<'a> {
    fn tools(&mut self) -> Vec<(String, Tool)> {
        let Some(paths) = self.document.get("paths").and_then(Value::as_object) else {
            self.faults.push("has no `paths`".to_owned());
            return Vec::new();
        };
        let mut tools = Vec::new();
        let mut names = BTreeSet::new();
        for (path, item) in paths {
            let Some(item) = self.resolved(item, path) else { continue };
            for method in METHODS {
                let Some(operation) = item.get(method) else { continue };
                let called = format!("{} {path}", method.to_ascii_uppercase());
                let Some(operation) = operation.as_object() else {
                    self.faults.push(format!("`{called}` is not an object"));
                    continue;
                };
                if !self.wants(operation, &called) {
                    continue;
                }
                let Some(name) = operation.get("operationId").and_then(Value::as_str) else {
                    self.faults.push(format!("`{called}` has no `operationId`: give it one, or exclude it"));
                    continue;
                };
                if !names.insert(name.to_owned()) {
                    self.faults.push(format!("`{called}` has an `operationId` that another one has: {name}"));
                    continue;
                }
                if let Some(tool) = self.tool(method, path, operation, &called) {
                    tools.push((name.to_owned(), tool));
                }
            }
        }
        tools
    }

    fn wants(&self, operation: &Map<String, Value>, called: &str) -> bool {
        let id = operation.get("operationId").and_then(Value::as_str).unwrap_or_default();
        let tags = operation.get("tags").and_then(Value::as_array);
        let fits = |pattern: &Pattern| match pattern {
            Pattern::Id(pattern) => glob(pattern, id),
            Pattern::Tag(tag) => tags.is_some_and(|tags| tags.iter().any(|one| one.as_str() == Some(tag))),
            Pattern::Operation(pattern) => glob(pattern, called),
        };
        self.include.as_ref().is_none_or(|include| include.iter().any(fits))
            && !self.exclude.as_ref().is_some_and(|exclude| exclude.iter().any(fits))
    }

    fn tool(
        &mut self,
        method: &str,
        path: &str,
        operation: &Map<String, Value>,
        called: &str,
    ) -> Option<Tool> {
        let path = match template(path) {
            Ok(path) => path,
            Err(why) => {
                self.faults.push(format!("`{called}` {why}: exclude it"));
                return None;
            }
        };
        let text = |member: &str| operation.get(member).and_then(Value::as_str);
        let description = text("summary").or_else(|| text("description"));
        Some(Tool {
            matches: Some(format!("{} {path}", method.to_ascii_uppercase())),
            scopes: self.scopes(operation, called)?,
            description: description.map(|text| text.lines().next().unwrap_or_default().to_owned()),
            annotations: Some(annotations(method)),
            ..Tool::default()
        })
    }

    /// The scopes of the first way of proving who calls that has any: documents name the one that grants least first.
    /// `Some(None)`: the operation has none, and the connector's count.
    fn scopes(&mut self, operation: &Map<String, Value>, called: &str) -> Option<Option<Vec<String>>> {
        let Some(ways) = operation.get("security").or_else(|| self.document.get("security")) else {
            return Some(None);
        };
        let Some(ways) = ways.as_array() else {
            self.faults.push(format!("`{called}` has a `security` that is not a list"));
            return None;
        };
        let mut first = None;
        for way in ways {
            let Some(way) = way.as_object() else {
                self.faults.push(format!("`{called}` has a `security` that is not a list of objects"));
                return None;
            };
            let mut scopes = Vec::new();
            for (scheme, listed) in way {
                scopes.extend(self.scopes_of_scheme(scheme, listed, called)?);
            }
            first = first.or(Some(scopes).filter(|scopes| !scopes.is_empty()));
        }
        Some(first)
    }

    /// The scopes that are listed for a scheme. Those of one that is not OAuth's are something else.
    fn scopes_of_scheme(&mut self, scheme: &str, listed: &Value, called: &str) -> Option<Vec<String>> {
        let schemes = self.document.pointer("/components/securitySchemes").and_then(Value::as_object);
        let declared = match schemes.and_then(|schemes| schemes.get(scheme)) {
            Some(declared) => self.resolved(declared, &format!("securitySchemes: {scheme}"))?,
            // Where nothing is listed for it, nothing is lost with it.
            None if listed.as_array().is_some_and(Vec::is_empty) => return Some(Vec::new()),
            None => {
                let fault = format!("`{called}` has a `security` with a scheme that is not there: {scheme}");
                self.faults.push(fault);
                return None;
            }
        };
        if !matches!(declared.get("type").and_then(Value::as_str), Some("oauth2" | "openIdConnect")) {
            return Some(Vec::new());
        }
        let texts =
            listed.as_array().map(|listed| listed.iter().map(|scope| scope.as_str().map(str::to_owned)));
        let scopes = texts.and_then(Iterator::collect::<Option<Vec<_>>>);
        if scopes.is_none() {
            let fault = format!("`{called}` has a `security` whose scopes are not a list of texts: {scheme}");
            self.faults.push(fault);
        }
        scopes
    }

    /// What a place holds, or what its references lead to within the document. Other documents are not read.
    fn resolved(&mut self, mut value: &'a Value, place: &str) -> Option<&'a Map<String, Value>> {
        for _ in 0..REFERENCES_MAX {
            let Some(object) = value.as_object() else {
                self.faults.push(format!("`{place}` is not an object"));
                return None;
            };
            let Some(reference) = object.get("$ref") else { return Some(object) };
            let within = reference.as_str().and_then(|reference| reference.strip_prefix('#'));
            let Some(target) = within.and_then(|pointer| self.document.pointer(pointer)) else {
                self.faults.push(format!("`{place}` has a `$ref` that leads to nothing within the document"));
                return None;
            };
            value = target;
        }
        self.faults.push(format!("`{place}` has more than {REFERENCES_MAX} references after one another"));
        None
    }
}

/// A path as `match` writes it: names of parameters are of letters, digits and `_`.
fn template(path: &str) -> Result<String, &'static str> {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        segments.push(match name {
            Some(name) if !name.is_empty() && !name.contains(['{', '}']) => {
                let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
                format!("{{{}}}", name.chars().map(plain).collect::<String>())
            }
            None if !segment.contains(['{', '}']) => segment.to_owned(),
            Some(_) | None => return Err("has a parameter that is not a whole segment of its path"),
        });
    }
    Ok(segments.join("/"))
}

/// What HTTP says of a method (RFC 9110 section 9.2).
fn annotations(method: &str) -> Annotations {
    let is_safe = matches!(method, "get" | "head" | "options");
    let is_idempotent = is_safe || matches!(method, "put" | "delete");
    Annotations {
        read_only: Some(is_safe),
        // A POST may add, or do anything else.
        destructive: (method != "post").then_some(!is_safe),
        idempotent: Some(is_idempotent),
        open_world: None,
    }
}

/// What the operations of a document are matched by, for fuzzing. `None`: it is no document.
///
/// # Errors
///
/// When not all of it can be tools.
#[cfg(any(fuzzing, test))]
pub fn openapi_tools(text: &str) -> Option<Result<Vec<String>, ()>> {
    let document = parse(text).ok()?;
    let mut import = Import { document: &document, include: None, exclude: None, faults: Vec::new() };
    let tools = import.tools();
    let matches = tools.into_iter().filter_map(|(_, tool)| tool.matches).collect();
    Some(if import.faults.is_empty() { Ok(matches) } else { Err(()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r##"
openapi: 3.1.0
info: { title: Mail, version: "1" }
security: [{ oauth: [Mail.Read] }]
components:
  securitySchemes:
    oauth: { type: oauth2, flows: {} }
    key: { type: apiKey, name: k, in: header }
  pathItems:
    message:
      get: { operationId: read_message, summary: Reads a message., tags: [read] }
      delete: { operationId: delete_message, security: [{ key: [] }, { oauth: [Mail.ReadWrite] }] }
paths:
  /me/messages:
    get: { operationId: list_messages, tags: [read] }
    post: { operationId: create_message, security: [{ oauth: [Mail.ReadWrite] }, { oauth: [Mail.Everything] }] }
  /me/messages/{message-id}: { $ref: "#/components/pathItems/message" }
  /status: { get: { operationId: status, security: [] } }
"##;

    fn import(text: &str, include: &[&str], exclude: &[&str]) -> (Vec<(String, Tool)>, Vec<String>) {
        let document = parse(text).expect("a document of the test");
        let list = |texts: &[&str]| {
            let pattern = |text: &&str| match (text.strip_prefix("tag:"), text.contains(' ')) {
                (Some(tag), _) => Pattern::Tag(tag.to_owned()),
                (None, true) => Pattern::Operation((*text).to_owned()),
                (None, false) => Pattern::Id((*text).to_owned()),
            };
            (!texts.is_empty()).then(|| texts.iter().map(pattern).collect())
        };
        let (include, exclude) = (list(include), list(exclude));
        let mut import = Import { document: &document, include, exclude, faults: Vec::new() };
        let tools = import.tools();
        (tools, import.faults)
    }

    #[track_caller]
    fn check_chosen(include: &[&str], exclude: &[&str], expected: &[&str]) {
        let (tools, faults) = import(DOCUMENT, include, exclude);
        assert_eq!(tools.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), expected);
        assert!(faults.is_empty(), "{faults:?}");
    }

    #[test]
    fn an_operation_is_a_tool_with_its_own_scopes() {
        let (tools, faults) = import(DOCUMENT, &[], &[]);
        assert!(faults.is_empty(), "{faults:?}");
        let seen: Vec<_> = tools
            .iter()
            .map(|(name, tool)| {
                let scopes = tool.scopes.as_ref().map(|scopes| scopes.join(" "));
                (name.as_str(), tool.matches.as_deref().unwrap_or_default(), scopes)
            })
            .collect();
        let scopes = |text: &str| Some(text.to_owned());
        assert_eq!(
            seen,
            [
                ("list_messages", "GET /me/messages", scopes("Mail.Read")),
                ("create_message", "POST /me/messages", scopes("Mail.ReadWrite")),
                ("read_message", "GET /me/messages/{message_id}", scopes("Mail.Read")),
                ("delete_message", "DELETE /me/messages/{message_id}", scopes("Mail.ReadWrite")),
                ("status", "GET /status", None),
            ]
        );
        assert_eq!(tools[2].1.description.as_deref(), Some("Reads a message."));
        let delete = tools[3].1.annotations.expect("annotations");
        assert_eq!(
            (delete.read_only, delete.destructive, delete.idempotent),
            (Some(false), Some(true), Some(true))
        );
    }

    #[test]
    fn what_a_tool_does_is_told_by_its_method() {
        let methods = "get: { operationId: a }, post: { operationId: b }, put: { operationId: c }, \
                       patch: { operationId: d }, delete: { operationId: e }";
        let (tools, _) = import(&format!("openapi: 3.0.3\npaths:\n  /x: {{ {methods} }}"), &[], &[]);
        let told = |name: &str| {
            let (_, tool) = tools.iter().find(|(given, _)| given == name).expect("the tool");
            let told = tool.annotations.expect("annotations");
            (told.read_only, told.destructive, told.idempotent)
        };
        assert_eq!(told("a"), (Some(true), Some(false), Some(true)));
        assert_eq!(told("b"), (Some(false), None, Some(false)), "nobody can tell what a POST destroys");
        assert_eq!(told("c"), (Some(false), Some(true), Some(true)));
        assert_eq!(told("d"), (Some(false), Some(true), Some(false)));
        assert_eq!(told("e"), (Some(false), Some(true), Some(true)));
    }

    #[test]
    fn scopes_that_cannot_be_read_are_never_the_connectors_instead() {
        let document = |schemes: &str, security: &str| {
            format!(
                "openapi: 3.0.3\ncomponents: {{ securitySchemes: {{ {schemes} }}, x: {{ o: {{ type: oauth2 }} }} }}\n\
                 paths:\n  /a: {{ get: {{ operationId: a, security: {security} }} }}"
            )
        };
        let (tools, faults) =
            import(&document("o: { $ref: \"#/components/x/o\" }", "[{ o: [Mail.Read] }]"), &[], &[]);
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(tools[0].1.scopes.as_deref(), Some(&["Mail.Read".to_owned()][..]));
        for (schemes, security, fault) in [
            ("", "[{ o: [Mail.Read] }]", "`GET /a` has a `security` with a scheme that is not there: o"),
            (
                "o: { type: oauth2 }",
                "[{ o: Mail.Read }]",
                "`GET /a` has a `security` whose scopes are not a list of texts: o",
            ),
            (
                "o: { type: oauth2 }",
                "[{ o: [1] }]",
                "`GET /a` has a `security` whose scopes are not a list of texts: o",
            ),
            ("o: { type: oauth2 }", "[o]", "`GET /a` has a `security` that is not a list of objects"),
        ] {
            let (_, faults) = import(&document(schemes, security), &[], &[]);
            assert_eq!(faults, [fault], "{schemes} {security}");
        }
    }

    #[test]
    fn operations_are_chosen_by_id_tag_or_place() {
        check_chosen(&["*_message"], &["delete_*"], &["create_message", "read_message"]);
        check_chosen(&["tag:read"], &[], &["list_messages", "read_message"]);
        check_chosen(&["GET /me/*"], &[], &["list_messages", "read_message"]);
        check_chosen(&[], &["* /me/*"], &["status"]);
        check_chosen(&["nothing"], &[], &[]);
    }

    #[track_caller]
    fn check_fault(paths: &str, expected: &str) {
        let text = format!("openapi: 3.0.3\npaths:\n{paths}");
        let (_, faults) = import(&text, &[], &[]);
        assert_eq!(faults, [expected]);
    }

    #[test]
    fn what_cannot_be_a_tool_is_a_fault() {
        check_fault("  /a: { get: {} }", "`GET /a` has no `operationId`: give it one, or exclude it");
        check_fault(
            "  /a: { get: { operationId: x }, put: { operationId: x } }",
            "`PUT /a` has an `operationId` that another one has: x",
        );
        check_fault(
            "  /a.{format}: { get: { operationId: x } }",
            "`GET /a.{format}` has a parameter that is not a whole segment of its path: exclude it",
        );
        check_fault(
            "  /a: { $ref: \"other.yaml#/a\" }",
            "`/a` has a `$ref` that leads to nothing within the document",
        );
        check_fault("  /a: { $ref: \"#/paths/~1a\" }", "`/a` has more than 8 references after one another");
        check_fault("  /a: []", "`/a` is not an object");
        check_fault("  /a: { get: [] }", "`GET /a` is not an object");
    }

    #[test]
    fn what_is_no_document_says_why() {
        for (text, why) in [
            ("swagger: '2.0'", "it has no `openapi: 3.…`"),
            ("openapi: '4.0'", "`openapi` is \"4.0\", and must be a version 3"),
            ("{\"openapi\":\"3.1.0\",\"openapi\":\"3.1.0\"}", "a member is given twice"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.starts_with(why), "{error}");
        }
        assert!(parse("a: [").is_err());
        assert!(parse("a: 1\na: 2").is_err(), "a key stands once");
    }
}
