//! Identity modes that can be served and may not be meant: who the connector sees decides whose data a tool shows. What
//! may be meant is a warning.

use crate::config::at::At;
use crate::config::file::{self, ConnectorKind, Identity, ListWithoutPerson, Named};

/// Methods that change something (RFC 9110 section 9.2.1 calls the others safe).
const WRITING_METHODS: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];
/// Words of a scope that say that it only reads.
const READING_WORDS: [&str; 5] = ["read", "reader", "readonly", "readbasic", "view"];
/// Words beside them that say that it does more.
const WRITING_WORDS: [&str; 7] = ["write", "readwrite", "send", "manage", "create", "delete", "admin"];

/// The modes of a connector that lists these tools: those that the tools name, its own where something has it, and the
/// application's where that lists without a person.
pub fn in_use(
    connector: &file::Connector,
    listed: Option<&Named<file::Tool>>,
    kind: ConnectorKind,
) -> impl Iterator<Item = Identity> {
    let tools = listed.into_iter().flat_map(|tools| &tools.0);
    let inherits = match kind {
        ConnectorKind::Rest => listed.is_none() || tools.clone().any(|(_, tool)| tool.identity.is_none()),
        // Everything of an MCP server that is no listed tool.
        ConnectorKind::Mcp => true,
    };
    let own = inherits.then(|| connector.identity.unwrap_or(Identity::OnBehalfOf));
    let alone =
        (connector.list_without_person == Some(ListWithoutPerson::AppOnly)).then_some(Identity::AppOnly);
    own.into_iter().chain(alone).chain(tools.filter_map(|(_, tool)| tool.identity))
}

/// Whether a connector, or one of the tools that are written, is for people's own connections.
pub fn connects(connector: &file::Connector) -> bool {
    let tools = connector.tools.iter().flat_map(|tools| &tools.0);
    let mut modes = tools.map(|(_, tool)| tool.identity).chain([connector.identity]);
    modes.any(|identity| identity == Some(Identity::Connection))
}

/// Looks at the tools of a connector: at these, where it is known what it lists, or else at those that are written.
pub fn check(connector: &file::Connector, listed: Option<&Named<file::Tool>>, at: &At<'_>) {
    check_mixture(connector, at);
    for (name, tool) in listed.or(connector.tools.as_ref()).iter().flat_map(|tools| &tools.0) {
        check_tool(connector, tool, &at.key("tools").key(name));
    }
}

/// Who mixes modes says so for each tool: one that inherits would change with a line that is about others.
fn check_mixture(connector: &file::Connector, at: &At<'_>) {
    let tools = connector.tools.iter().flat_map(|tools| &tools.0);
    let own = connector.identity.unwrap_or(Identity::OnBehalfOf);
    let differs = tools.clone().any(|(_, tool)| tool.identity.is_some_and(|identity| identity != own));
    let silent: Vec<String> =
        tools.filter(|(_, tool)| tool.identity.is_none()).map(|(name, _)| format!("`{name}`")).collect();
    if differs && !silent.is_empty() {
        at.key("tools").warn(format_args!(
            "have different identity modes, and {} would change with the connector's: write `identity` for each tool",
            silent.join(", ")
        ));
    }
}

fn check_tool(connector: &file::Connector, tool: &file::Tool, at: &At<'_>) {
    let (method, path) =
        tool.matches.as_deref().and_then(|text| text.split_once(char::is_whitespace)).unzip();
    let identity = tool.identity.or(connector.identity);
    if identity == Some(Identity::AppOnly) && path.is_some_and(|path| is_a_persons(path.trim())) {
        at.key("match").warn(
            "is a person's data, which whoever may use this tool would see with the application's power: write \
             `identity: on_behalf_of`",
        );
    }
    let annotations = tool.annotations;
    let writes = match annotations.and_then(|annotations| annotations.read_only) {
        Some(read_only) => !read_only,
        None => {
            annotations.is_some_and(|annotations| annotations.destructive == Some(true))
                || method.is_some_and(|method| WRITING_METHODS.contains(&method))
        }
    };
    let scopes = tool.scopes.as_deref().or(connector.scopes.as_deref()).unwrap_or_default();
    if writes && !scopes.is_empty() && scopes.iter().all(|scope| only_reads(scope)) {
        at.key("scopes").warn(format_args!(
            "only read ({}), and the tool changes something: name a scope that lets it, or say `annotations: {{ read_only: \
             true }}`",
            scopes.iter().map(|scope| format!("`{scope}`")).collect::<Vec<_>>().join(", ")
        ));
    }
}

/// Whether a path is within what belongs to one person, as Microsoft Graph and many others have it.
fn is_a_persons(path: &str) -> bool {
    let mut segments = path.trim_start_matches('/').split('/');
    match (segments.next(), segments.next()) {
        (Some("me"), _) => true,
        (Some("users"), Some(user)) => user.starts_with('{'),
        _ => false,
    }
}

/// Whether a scope says by its name that it only reads: `Mail.Read`, `Sites.Read.All`, `read:issues`, `gmail.readonly`.
fn only_reads(scope: &str) -> bool {
    let name = scope.rsplit('/').next().unwrap_or(scope).to_ascii_lowercase();
    let words: Vec<&str> = name.split(['.', ':', '_']).collect();
    let has = |known: &[&str]| words.iter().any(|word| known.contains(word));
    has(&READING_WORDS) && !has(&WRITING_WORDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_scope(scope: &str, reads: bool) {
        assert_eq!(only_reads(scope), reads, "{scope}");
    }

    #[test]
    fn a_scope_says_by_its_name_whether_it_only_reads() {
        for scope in [
            "Mail.Read",
            "Sites.Read.All",
            "User.ReadBasic.All",
            "mail.read",
            "read:issues",
            "issues:read",
            "https://graph.microsoft.com/Mail.Read",
            "https://www.googleapis.com/auth/gmail.readonly",
            "files_read",
        ] {
            check_scope(scope, true);
        }
        for scope in
            ["Mail.ReadWrite", "Mail.Send", "write:issues", "read_write", "spreadsheets", "bread", ".default"]
        {
            check_scope(scope, false);
        }
    }

    #[track_caller]
    fn check_path(path: &str, is_persons: bool) {
        assert_eq!(is_a_persons(path), is_persons, "{path}");
    }

    #[test]
    fn what_belongs_to_a_person_is_seen_by_its_path() {
        check_path("/me", true);
        check_path("/me/messages/{id}", true);
        check_path("/users/{id}", true);
        check_path("/users/{user-id}/sendMail", true);
        check_path("/users", false);
        check_path("/users/announcements@contoso.example/sendMail", false);
        check_path("/menu", false);
        check_path("/groups/{id}/members", false);
    }
}
