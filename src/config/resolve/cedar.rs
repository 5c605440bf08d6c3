//! `policy.cedar`: policies in the Cedar language, and whether what they name is there.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::files::{NamedFile, text};
use super::policy::{NameFault, Names};
use super::values;
use crate::config::at::At;
use crate::config::fault::{NamedText, Severity, Span};
use crate::config::file::Cedar;
use crate::config::nearest::{nearest, suggestion};
use crate::policy::cedar::{
    Annotation, CedarPolicies, Draft, KnownConnector, Mention, Place, PolicyFault, PolicyFile, Vocabulary,
};

/// Largest file of policies that is read. A thousand policies have about 300 kB.
const POLICY_FILE_BYTES_MAX: usize = 4_194_304;
/// The annotations that mean something.
const ANNOTATIONS: [&str; 2] = ["confirm", "id"];
const WHAT_FILES: &str = "name the files with policies, like `[policies.cedar]`";

/// Reads and checks policies. Without a vocabulary there are faults elsewhere, and what they name is not looked at.
pub fn policies(
    cedar: &Cedar,
    at: &At<'_>,
    vocabulary: Option<&Vocabulary>,
    names: &mut Names,
) -> Option<CedarPolicies> {
    let at = at.key("files");
    let paths = at.required(cedar.files.as_deref(), WHAT_FILES)?;
    if !values::not_empty(&at, Some(paths), WHAT_FILES) {
        return None;
    }
    let mut texts = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        let at = at.index(index);
        if paths[..index].contains(path) {
            at.fault_found("is listed twice");
            return None;
        }
        texts.push(text(NamedFile { at: &at, path }, POLICY_FILE_BYTES_MAX));
    }
    let texts: Vec<String> = texts.into_iter().collect::<Option<_>>()?;
    let files = paths
        .iter()
        .zip(&texts)
        .map(|(path, text)| PolicyFile { name: short_name(path, paths).to_owned(), text: text.clone() });
    let (draft, faults) = Draft::read(files.collect());
    let named = paths
        .iter()
        .zip(&texts)
        .map(|(path, text)| NamedText { path: Arc::from(path.as_str()), text: Arc::from(text.as_str()) });
    let places = Places { at: &at, files: named.collect() };
    let mut sound = faults.is_empty();
    for fault in faults {
        places.note(Severity::Error, fault.place, fault.message);
    }
    let mut told_apart = true;
    for policy in draft.policies() {
        if let Err(fault) = names.claim(policy.name(), places.name(policy.place())) {
            places.note(Severity::Error, policy.place(), format_args!("`{}` {}", policy.name(), why(&fault)));
            told_apart = false;
        }
    }
    for annotation in draft.annotations() {
        sound &= places.check_annotation(&annotation);
    }
    let vocabulary = vocabulary?;
    for mention in draft.mentions() {
        sound &= places.check(&mention, vocabulary);
    }
    told_apart.then_some(())?;
    // What Cedar says of policies that name what is not there is worth knowing all the same.
    let (policies, oddities) = match draft.compile(vocabulary) {
        Ok((policies, warnings)) => (Some(policies), warnings),
        Err(faults) => (None, faults),
    };
    for PolicyFault { place, message, is_warning } in oddities {
        places.note(if is_warning { Severity::Warning } else { Severity::Error }, place, message);
    }
    policies.filter(|_| sound)
}

fn why(fault: &NameFault) -> String {
    match fault {
        NameFault::TooLong => fault.to_string(),
        NameFault::Taken(_) => format!("{fault}, by `@id(\"…\")`"),
    }
}

/// The last part of a path, where that tells the file from the others.
fn short_name<'a>(path: &'a str, paths: &[String]) -> &'a str {
    let last = |path: &'a str| Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or(path);
    let same = |other: &&String| Path::new(other).file_name() == Path::new(path).file_name();
    if paths.iter().filter(same).count() > 1 { path } else { last(path) }
}

/// The files of policies, and the place that names them.
struct Places<'a> {
    at: &'a At<'a>,
    files: Vec<NamedText>,
}

impl Places<'_> {
    fn note(&self, severity: Severity, place: Place, message: impl fmt::Display) {
        let Place { file, line, column, length } = place;
        let span = Span { line, column, end_line: line, end_column: column + length };
        if let Some(file) = self.files.get(file) {
            self.at.note_in(file, severity, span, message);
        }
    }

    fn name(&self, place: Place) -> String {
        self.files.get(place.file).map(|file| format!("{}:{}", file.path, place.line)).unwrap_or_default()
    }

    /// Whether an annotation means something. Cedar takes any, and one that is misspelt would have nobody asked.
    fn check_annotation(&self, Annotation { name, place }: &Annotation) -> bool {
        if ANNOTATIONS.contains(&name.as_str()) {
            return true;
        }
        let meant = match nearest(name, ANNOTATIONS) {
            Some(near) => format!("did you mean `@{near}`?"),
            None => "there are `@confirm` and `@id`, and what is for people goes behind `//`".to_owned(),
        };
        self.note(
            Severity::Error,
            *place,
            format_args!("`@{name}` is no annotation that has a meaning here; {meant}"),
        );
        false
    }

    /// Whether what a policy names is there. What is not would be a typing error: it opens nothing, and closes nothing.
    fn check(&self, mention: &Mention, vocabulary: &Vocabulary) -> bool {
        let Mention { kind, id, place } = mention;
        let fault = match kind.as_str() {
            "Connector" => connector(id, vocabulary),
            "Tool" => tool(id, vocabulary),
            "Prompt" => of_mcp(id, "prompt", vocabulary),
            "Resource" => of_mcp(id, "uri", vocabulary),
            "Person" => of_realm(id, "subject", vocabulary),
            "Group" | "Role" => of_realm(id, "name", vocabulary),
            "Agent" => of_issuer(id, "client-id", vocabulary).map(|_| ()),
            // Actions, and what is no type of ours: the schema tells.
            _ => Ok(()),
        };
        if kind == "Person" && id.contains('@') {
            self.note(
                Severity::Warning,
                *place,
                "looks like an e-mail address, which can be given to somebody else and is no identifier of a person: \
                 name the `oid` or `sub`",
            );
        }
        if let Err(message) = &fault {
            self.note(Severity::Error, *place, format_args!("{kind}::{id:?} {message}"));
        }
        fault.is_ok()
    }
}

/// What is before the first `/`, and what is after it. Both are something.
fn parts<'a>(id: &'a str, form: &str) -> Result<(&'a str, &'a str), String> {
    let parts = id.split_once('/').filter(|(first, rest)| !first.is_empty() && !rest.is_empty());
    parts.ok_or_else(|| format!("must have the form `{form}`"))
}

fn connector(id: &str, vocabulary: &Vocabulary) -> Result<(), String> {
    known_connector(id, vocabulary).map(|_| ())
}

fn known_connector<'a>(name: &str, vocabulary: &'a Vocabulary) -> Result<&'a KnownConnector, String> {
    let names = || vocabulary.connectors.iter().map(|connector| connector.name.as_str());
    let found = vocabulary.connectors.iter().find(|connector| connector.name.as_str() == name);
    found.ok_or_else(|| format!("names no connector{}", suggestion(name, names())))
}

fn tool(id: &str, vocabulary: &Vocabulary) -> Result<(), String> {
    let (connector, tool) = parts(id, "connector/tool")?;
    let all = || vocabulary.connectors.iter().flat_map(|connector| &connector.tools).map(ToString::to_string);
    let near = || suggestion(id, all().collect::<Vec<_>>().iter().map(String::as_str));
    let Ok(connector) = known_connector(connector, vocabulary) else {
        return Err(match near() {
            near if near.is_empty() => known_connector(connector, vocabulary).err().unwrap_or_default(),
            near => format!("names no tool{near}"),
        });
    };
    let is_there = connector.has_others || connector.tools.iter().any(|known| known.name.as_str() == tool);
    if is_there { Ok(()) } else { Err(format!("names no tool{}", near())) }
}

/// Which prompts and resources there are, only the MCP server knows.
fn of_mcp(id: &str, what: &str, vocabulary: &Vocabulary) -> Result<(), String> {
    let (connector, _) = parts(id, &format!("connector/{what}"))?;
    match known_connector(connector, vocabulary)?.has_prompts {
        true => Ok(()),
        false => Err("is on a REST connector, and only MCP servers have prompts and resources".to_owned()),
    }
}

/// The tenants of the issuer that the identifier begins with, and the rest.
fn of_issuer<'a, 'b>(
    id: &'a str,
    what: &str,
    vocabulary: &'b Vocabulary,
) -> Result<(&'b [Arc<str>], &'a str), String> {
    let (issuer, rest) = parts(id, &format!("issuer/{what}"))?;
    let found = vocabulary.issuers.iter().find(|(name, _)| name.as_str() == issuer);
    let names = || vocabulary.issuers.iter().map(|(name, _)| name.as_str());
    let (_, tenants) = found.ok_or_else(|| format!("names no issuer{}", suggestion(issuer, names())))?;
    Ok((tenants, rest))
}

/// Where an issuer vouches for several tenants, an identifier means something within one of them.
fn of_realm(id: &str, what: &str, vocabulary: &Vocabulary) -> Result<(), String> {
    let (tenants, rest) = of_issuer(id, what, vocabulary)?;
    if tenants.len() < 2 {
        return Ok(());
    }
    let form = format!("issuer/tenant/{what}");
    let (tenant, _) = parts(rest, &form).map_err(|form| format!("{form}: its issuer has several tenants"))?;
    if tenants.iter().any(|known| **known == *tenant) {
        return Ok(());
    }
    let near = suggestion(tenant, tenants.iter().map(AsRef::as_ref));
    Err(format!("names no tenant of its issuer, and must have the form `{form}`{near}"))
}
