//! `vault`: where people's own connections are kept, and by which keys.

use std::collections::HashMap;
use std::path::Path;

use super::files::{self, NamedFile};
use super::publication::PublicUrl;
use super::values;
use crate::config::at::At;
use crate::config::file::{self, File};
use crate::vault::{KeyId, VaultKey, VaultSettings};

/// Checks the vault, where there is one. `None` when faults were noted.
pub fn settings(file: &File, root: &At<'_>, public_url: &PublicUrl<'_>) -> Option<Option<VaultSettings>> {
    let at = root.key("vault");
    let Some(vault) = file.vault.as_ref() else { return (!at.is_written()).then_some(None) };
    let has_pages = has_pages(file, &at, public_url);
    let file_at = at.key("file");
    let place = file_at.required(vault.file.as_deref(), "name the file, like `vault.db`");
    let place = place.and_then(|file| self::place(file, &file_at));
    let keys = keys(vault.keys.as_deref(), &at.key("keys"));
    let settings = VaultSettings { file: Path::new(place?).into(), keys: keys? };
    has_pages.then_some(Some(settings))
}

/// Whether there are pages for those whose grants are in it: what nobody could see or take away, forgetting a person has to reach.
fn has_pages(file: &File, at: &At<'_>, public_url: &PublicUrl<'_>) -> bool {
    match public_url {
        PublicUrl::Given(_) => true,
        PublicUrl::Missing => {
            let mut connectors = file.connectors.iter().flat_map(|connectors| &connectors.0);
            // Each connection says so at its own place.
            if !connectors.any(|(_, connector)| connector.connection.is_some()) {
                at.fault(
                    "goes with `public_url`, under which people find what they have connected: add it, like `public_url: \
                     https://gateway.example`; or have everybody in the vault forgotten, and leave this out",
                );
            }
            false
        }
        PublicUrl::Unclear => false,
    }
}

fn place<'a>(file: &'a str, at: &At<'_>) -> Option<&'a str> {
    if file.ends_with('/') || Path::new(file).is_dir() {
        at.fault_found("is a folder: name a file in it");
        return None;
    }
    let path = Path::new(file);
    if path.symlink_metadata().is_ok_and(|there| !there.is_file()) {
        at.fault_found("is a link, a pipe or a device: name a regular file, and not a link to it");
        return None;
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if folder.is_some_and(|folder| !folder.is_dir()) {
        at.warn("is in a folder that is not there: make it before the gateway runs, or it will not start");
    }
    Some(file)
}

fn keys(keys: Option<&[file::VaultKey]>, at: &At<'_>) -> Option<Vec<VaultKey>> {
    const WHAT: &str =
        "name at least one key, like `keys: [{ id: \"2026-11\", file: secrets/vault-2026-11.key }]`";
    let keys = at.required(keys, WHAT)?;
    if keys.is_empty() {
        at.fault(format_args!("is empty: {WHAT}"));
        return None;
    }
    let mut ids: HashMap<&str, usize> = HashMap::new();
    let mut checked = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        let at = at.index(index);
        let (id_at, file_at) = (at.key("id"), at.key("file"));
        let id = id_at.required(key.id.as_deref(), "give the key a name, like `\"2026-11\"`");
        if let Some(id) = id {
            values::check_name(&id_at, id);
            if let Some(other) = ids.insert(id, index) {
                id_at.fault_found(format_args!(
                    "is the name of `vault.keys[{other}]` already: give each its own"
                ));
            }
        }
        let path = file_at.required(key.file.as_deref(), "name the file that holds the key");
        let bytes = path.and_then(|path| files::key(NamedFile { at: &file_at, path }));
        checked.push(id.zip(bytes).and_then(|(id, bytes)| match VaultKey::read(KeyId::new(id), &bytes) {
            Ok(key) => Some(key),
            Err(error) => {
                file_at.fault_found(format_args!("names a file that {error}"));
                None
            }
        }));
    }
    let keys: Vec<VaultKey> = checked.into_iter().collect::<Option<_>>()?;
    for (index, key) in keys.iter().enumerate() {
        // Sealing anew with it would change nothing.
        if let Some(other) = keys[..index].iter().position(|other| other.has_the_secret_of(key)) {
            at.index(index)
                .key("file")
                .fault_found(format_args!("holds the same key as `vault.keys[{other}]`: draw a new one"));
            return None;
        }
    }
    Some(keys)
}
