//! The configuration as checked: what each module wants, or every fault at once.

mod application;
mod arguments;
mod audit;
mod bounds;
#[cfg(feature = "cedar")]
mod cedar;
mod confirm;
mod connection;
mod connectors;
mod exchange;
mod files;
mod headers;
mod issuers;
mod limits;
mod modes;
mod openapi;
mod origins;
mod pages;
mod policy;
mod privacy;
mod publication;
mod reload;
mod resource_authorization_servers;
mod server;
mod sign_in;
mod target;
mod tools;
mod traps;
mod validity;
mod values;
mod vault;

#[cfg(any(fuzzing, test))]
pub use openapi::openapi_tools;

use super::Config;
use super::at::At;
use super::expand::Environment;
use super::file::File;
use crate::connections::Links;
use publication::PublicUrl;

/// What a configuration is checked against besides itself.
pub struct Surroundings<'a> {
    /// Looks up environment variables.
    pub environment: &'a Environment<'a>,
    /// Seconds since 1970 UTC.
    pub now: u64,
    /// Whether the policies in the Cedar language are left out: for whoever wants to know what they can speak of.
    pub without_cedar: bool,
}

/// Checks a file as a whole. `None` when faults were noted.
pub fn resolve(file: &File, root: &At<'_>, surroundings: &Surroundings<'_>) -> Option<Config> {
    let server = server::settings(file, root, surroundings);
    let listen = server.as_ref().map(|server| server.listen);
    let public = server::public(file, root, listen);
    let public_url = match public.as_ref() {
        Some(public) => public.public_url.as_ref().map_or(PublicUrl::Missing, PublicUrl::Given),
        None => PublicUrl::Unclear,
    };
    let mut issuers = issuers::settings(file, root, &public_url, surroundings);
    let pages = pages::settings(file, root, &public_url);
    let connectors = connectors::settings(file, root, &issuers);
    if let Some(Some(_)) = &pages {
        let connect = |connectors: &Vec<_>| pages::check_connections(connectors, &issuers.settings, root);
        if connectors.as_ref().is_none_or(connect) {
            pages::check_sign_in(&issuers.settings, root);
        }
    }
    let policy = policy::policy(file, root, Some(&issuers.settings).zip(connectors.as_deref()), surroundings);
    traps::check(file, root);
    let vault = vault::settings(file, root, &public_url);
    let connections = connection::settings(file, root, &public_url, connectors.as_deref(), surroundings);
    if let (Some(pages), Some(connectors), Some(policy)) = (&pages, &connectors, &policy) {
        let (public_url, pages, issuers) = (&public_url, pages.as_ref(), issuers.settings.as_slice());
        confirm::Means { public_url, pages, issuers }.check(root, connectors, policy);
    }
    let audit = audit::settings(file.audit.as_ref(), &root.key("audit"));
    let privacy = privacy::privacy(file.audit.as_ref(), &root.key("audit"));
    privacy::keep_display_names(file.audit.as_ref(), &mut issuers.settings);
    if let Some(connectors) = &connectors {
        application::keep_where_used(&mut issuers.settings, connectors);
    }
    let look_every = reload::look_every(file.reload.as_ref(), &root.key("reload"));
    let bounds = bounds::of_calls(file, root, server.as_ref().map(|server| server.bounds.headers_max));
    let memory = bounds::of_memory(file, root);
    let (mut public, pages) = (public?, pages?);
    let links = public.public_url.as_ref().zip(pages.as_ref());
    let links = links.map(|(public_url, pages)| Links::new(public_url, pages.path()));
    public.pages = pages;
    Some(Config {
        server: server?,
        public,
        bounds: bounds?,
        memory: memory?,
        issuers: issuers.settings,
        connectors: connectors?,
        policy: policy?,
        vault: vault?,
        links,
        connections: connections?,
        audit: audit?,
        privacy: privacy?,
        look_every: look_every?,
    })
}
