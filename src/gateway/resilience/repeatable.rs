//! Which calls are idempotent: what they do is done once, however often they are made, so that they may be repeated.
//!
//! What an MCP server says of its own tools (`idempotentHint`) does not count: it is a hint, and this decides what is done with
//! somebody's data. The configuration says it, in `annotations`.

use http::Method as HttpMethod;

use crate::gateway::mcp::method::Method;
use crate::tool::Annotations;

/// Whether this HTTP method of a tool so declared is: what is declared, or else what RFC 9110 section 9.2.2 says.
pub fn is_idempotent_operation(method: &HttpMethod, annotations: Annotations) -> bool {
    declared(annotations).unwrap_or_else(|| method.is_idempotent())
}

/// Whether this method of MCP is, on something so declared: lists and reads are, and of tools those that say so. What begins,
/// ends or hears of something is not repeated: its client would lose track of it.
pub fn is_idempotent_message(method: Method, annotations: Annotations) -> bool {
    match method {
        Method::Ping
        | Method::ToolsList
        | Method::PromptsList
        | Method::PromptsGet
        | Method::ResourcesList
        | Method::ResourceTemplatesList
        | Method::ResourcesRead
        | Method::CompletionComplete
        | Method::TasksGet
        | Method::TasksList
        | Method::ServerDiscover => true,
        Method::ToolsCall => declared(annotations) == Some(true),
        Method::Initialize
        | Method::ResourcesSubscribe
        | Method::ResourcesUnsubscribe
        | Method::LoggingSetLevel
        | Method::TasksResult
        | Method::TasksCancel
        | Method::TasksUpdate
        | Method::SubscriptionsListen
        | Method::Unknown => false,
    }
}

/// What a declaration says; `None`: nothing.
fn declared(annotations: Annotations) -> Option<bool> {
    match (annotations.read_only, annotations.idempotent) {
        // What changes nothing can be done any number of times.
        (Some(true), _) => Some(true),
        (Some(false) | None, idempotent) => idempotent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENT: Annotations =
        Annotations { read_only: None, destructive: None, idempotent: None, open_world: None };

    #[track_caller]
    fn check(method: &HttpMethod, read_only: Option<bool>, idempotent: Option<bool>, expected: bool) {
        let annotations = Annotations { read_only, idempotent, ..SILENT };
        assert_eq!(is_idempotent_operation(method, annotations), expected, "{method} {annotations:?}");
    }

    #[test]
    fn operations_are_by_their_method_and_by_what_is_declared() {
        for method in [HttpMethod::GET, HttpMethod::HEAD, HttpMethod::PUT, HttpMethod::DELETE] {
            check(&method, None, None, true);
            check(&method, None, Some(false), false);
            check(&method, Some(true), Some(false), true);
        }
        for method in [HttpMethod::POST, HttpMethod::PATCH] {
            check(&method, None, None, false);
            check(&method, Some(false), None, false);
            check(&method, Some(true), None, true);
            check(&method, None, Some(true), true);
            check(&method, Some(false), Some(true), true);
        }
    }

    #[test]
    fn messages_are_when_they_list_or_read_or_call_a_tool_that_says_so() {
        let idempotent = Annotations { idempotent: Some(true), ..SILENT };
        let always: Vec<_> =
            Method::KNOWN.into_iter().filter(|method| is_idempotent_message(*method, SILENT)).collect();
        assert_eq!(always.len(), 11, "{always:?}");
        assert!(!is_idempotent_message(Method::ToolsCall, SILENT));
        assert!(is_idempotent_message(Method::ToolsCall, idempotent));
        assert!(is_idempotent_message(Method::ToolsCall, Annotations { read_only: Some(true), ..SILENT }));
        for never in [Method::Initialize, Method::TasksCancel, Method::SubscriptionsListen, Method::Unknown] {
            assert!(!is_idempotent_message(never, idempotent), "{never:?}");
        }
    }
}
