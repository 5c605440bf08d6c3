//! What records may say of people and of arguments: `audit.keys`, `audit.pseudonyms`, `audit.display_names`, and a tool's
//! `record_arguments`.

use std::sync::Arc;

use super::files::{self, NamedFile};
use super::values;
use crate::audit::{AuditKey, Epoch, KEY_BYTES_MIN, Privacy};
use crate::config::at::At;
use crate::config::file;
use crate::oauth::IssuerSettings;

/// Largest key that is read. More than the block of its hash adds nothing (RFC 2104 section 3).
const KEY_BYTES_MAX: usize = 4_096;

/// Checks by which keys records have digests, and whether people stand under pseudonyms.
pub fn privacy(audit: Option<&file::Audit>, at: &At<'_>) -> Option<Arc<Privacy>> {
    let Some(audit) = audit else { return Some(Privacy::of_this_run()) };
    let (keys_at, pseudonyms_at) = (at.key("keys"), at.key("pseudonyms"));
    let keys = match &audit.keys {
        Some(keys) => Some(keys_of(keys, &keys_at)?),
        None if keys_at.is_written() => return None,
        None => None,
    };
    let pseudonyms = audit.pseudonyms == Some(true);
    if pseudonyms && audit.display_names == Some(true) {
        at.key("display_names").fault("cannot be true beside `pseudonyms`: leave out one of the two");
        return None;
    }
    match keys {
        Some(keys) => Privacy::new(keys, pseudonyms).map(Arc::new),
        None if pseudonyms => {
            pseudonyms_at.fault(
                "needs `keys`, without which nobody could find a person again: add `keys: [{ epoch: …, file: … }]` to `audit`",
            );
            None
        }
        None => Some(Privacy::of_this_run()),
    }
}

fn keys_of(keys: &[file::AuditKey], at: &At<'_>) -> Option<Vec<AuditKey>> {
    if keys.is_empty() {
        at.fault("is empty: name a key, or leave the key out");
        return None;
    }
    let mut epochs: Vec<&str> = Vec::new();
    let checked: Vec<_> = keys
        .iter()
        .enumerate()
        .map(|(index, key)| {
            let at = at.index(index);
            let epoch_at = at.key("epoch");
            let named = epoch_at
                .required(key.epoch.as_deref(), "say what the time is called in which it is used, like `2026-11`");
            let is_new = named.is_none_or(|named| !epochs.contains(&named));
            epochs.extend(named);
            if !is_new {
                epoch_at.fault_found("is the name of another key, too: give each its own");
            }
            let epoch = named.and_then(|named| epoch(named, &epoch_at));
            let file_at = at.key("file");
            let path = file_at.required(key.file.as_deref(), "name the file with the key")?;
            let bytes = files::bytes(NamedFile { at: &file_at, path }, KEY_BYTES_MAX)?;
            let key = AuditKey::new(epoch?, &bytes);
            if key.is_none() {
                file_at.fault_found(format_args!(
                    "names a key of {} bytes: it takes at least {KEY_BYTES_MIN}, as `openssl rand {KEY_BYTES_MIN}` makes them",
                    bytes.len()
                ));
            }
            key.filter(|_| is_new)
        })
        .collect();
    checked.into_iter().collect()
}

fn epoch(name: &str, at: &At<'_>) -> Option<Epoch> {
    let epoch = Epoch::parse(name);
    if epoch.is_none() {
        at.fault_found("must be 1 to 32 letters, digits, `.` or `-`, such as `2026-11`");
    }
    epoch
}

/// Has the issuers' verifiers keep what people are called, where records are to say it.
pub fn keep_display_names(audit: Option<&file::Audit>, issuers: &mut [IssuerSettings]) {
    let wanted = audit.is_some_and(|audit| audit.display_names == Some(true));
    issuers.iter_mut().for_each(|issuer| issuer.keeps_display_names = wanted);
}

/// Checks which arguments of a tool stand in records as they are.
pub fn record_arguments(tool: &file::Tool, at: &At<'_>) -> Option<Arc<[Arc<str>]>> {
    let names = tool.record_arguments.as_deref();
    if !values::not_empty(at, names, "name the arguments to record, or leave the key out") {
        return None;
    }
    let declared = tool.arguments.as_ref().map(|arguments| arguments.0.as_slice()).unwrap_or_default();
    let mut sound = true;
    let mut recorded: Vec<Arc<str>> = Vec::new();
    for (index, name) in names.unwrap_or_default().iter().enumerate() {
        if !declared.iter().any(|(declared, _)| declared == name) {
            at.index(index).fault_found("is not declared: add it to the tool's `arguments`, or leave it out");
            sound = false;
        } else if recorded.iter().any(|recorded| **recorded == **name) {
            at.index(index).fault_found("is named twice: leave out one of the two");
            sound = false;
        }
        recorded.push(name.as_str().into());
    }
    sound.then(|| recorded.into())
}
