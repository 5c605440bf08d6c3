//! Lists of what a server has: without what their reader may not use.

use serde_json::{Map, Value};

use super::era::Era;
use super::method::Method;
use crate::tool::Primitive;

/// What a server lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum List {
    /// `tools/list`.
    Tools,
    /// `prompts/list`.
    Prompts,
    /// `resources/list`.
    Resources,
    /// `resources/templates/list`.
    ResourceTemplates,
}

/// Why a list cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ListError {
    /// The result is not an object.
    #[error("the result is not an object")]
    NotAnObject,
    /// It has no list, or something else in its place.
    #[error("the result has no list `{0}`")]
    NoList(&'static str),
}

impl List {
    /// All lists.
    pub const ALL: [Self; 4] = [Self::Tools, Self::Prompts, Self::Resources, Self::ResourceTemplates];

    /// The list that a method asks for, if it asks for one.
    pub const fn of(method: Method) -> Option<Self> {
        match method {
            Method::ToolsList => Some(Self::Tools),
            Method::PromptsList => Some(Self::Prompts),
            Method::ResourcesList => Some(Self::Resources),
            Method::ResourceTemplatesList => Some(Self::ResourceTemplates),
            Method::Initialize
            | Method::Ping
            | Method::ToolsCall
            | Method::PromptsGet
            | Method::ResourcesRead
            | Method::ResourcesSubscribe
            | Method::ResourcesUnsubscribe
            | Method::CompletionComplete
            | Method::LoggingSetLevel
            | Method::TasksGet
            | Method::TasksList
            | Method::TasksResult
            | Method::TasksCancel
            | Method::TasksUpdate
            | Method::ServerDiscover
            | Method::SubscriptionsListen
            | Method::Unknown => None,
        }
    }

    /// Whether a result has this list.
    pub fn is_in(self, result: &Map<String, Value>) -> bool {
        result.contains_key(self.member())
    }

    /// Takes out of a result what `shows` does not let through, by kind and name; what has no name is taken out as well.
    /// Everything else stays as it is, pages and order too, but for how long and for whom it may be kept: it is for its reader
    /// alone.
    ///
    /// # Errors
    ///
    /// [`ListError`] when nobody can say what is in it.
    pub fn filter(
        self,
        result: &mut Value,
        era: Era,
        shows: impl Fn(Primitive, &str) -> bool,
    ) -> Result<(), ListError> {
        let result = result.as_object_mut().ok_or(ListError::NotAnObject)?;
        let Some(Value::Array(items)) = result.get_mut(self.member()) else {
            return Err(ListError::NoList(self.member()));
        };
        let (primitive, key) = self.naming();
        items.retain(|item| {
            item.get(key).and_then(Value::as_str).is_some_and(|name| shows(primitive, name))
        });
        if era == Era::Modern || result.contains_key("cacheScope") {
            result.insert("cacheScope".to_owned(), "private".into());
        }
        Ok(())
    }

    const fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::ResourceTemplates => "resourceTemplates",
        }
    }

    /// What its items are, and the member that names them.
    const fn naming(self) -> (Primitive, &'static str) {
        match self {
            Self::Tools => (Primitive::Tool, "name"),
            Self::Prompts => (Primitive::Prompt, "name"),
            Self::Resources => (Primitive::Resource, "uri"),
            Self::ResourceTemplates => (Primitive::Resource, "uriTemplate"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(list: List, era: Era, mut result: Value, shown: &[&str], expected: Result<Value, ListError>) {
        let filtered = list.filter(&mut result, era, |_, name| shown.contains(&name));
        assert_eq!(filtered.map(|()| result), expected);
    }

    #[test]
    fn what_is_not_shown_is_taken_out_and_the_rest_stays() {
        let list = json!({ "name": "list", "annotations": { "readOnlyHint": true }, "inputSchema": {} });
        let tools = json!([list, { "name": "delete" }, { "title": "nameless" }, { "name": 5 }, "list", null]);
        check(
            List::Tools,
            Era::Modern,
            json!({ "resultType": "complete", "tools": tools, "nextCursor": "2", "cacheScope": "public", "ttlMs": 5 }),
            &["list"],
            Ok(json!({ "resultType": "complete", "tools": [list], "nextCursor": "2", "cacheScope": "private", "ttlMs": 5 })),
        );
        check(
            List::Tools,
            Era::Legacy,
            json!({ "tools": tools, "_meta": {} }),
            &[],
            Ok(json!({ "tools": [], "_meta": {} })),
        );
    }

    #[test]
    fn each_list_names_its_items_in_its_own_way() {
        let items = |key: &str| json!([{ key: "a" }, { key: "b" }]);
        for (list, member, key, primitive) in [
            (List::Tools, "tools", "name", Primitive::Tool),
            (List::Prompts, "prompts", "name", Primitive::Prompt),
            (List::Resources, "resources", "uri", Primitive::Resource),
            (List::ResourceTemplates, "resourceTemplates", "uriTemplate", Primitive::Resource),
        ] {
            let mut result = json!({ member: items(key) });
            assert!(list.is_in(result.as_object().expect("an object")));
            list.filter(&mut result, Era::Legacy, |found, name| found == primitive && name == "b")
                .expect("a list");
            assert_eq!(result, json!({ member: [{ key: "b" }] }));
        }
    }

    #[test]
    fn what_cannot_be_read_is_no_list() {
        check(List::Tools, Era::Legacy, json!([]), &[], Err(ListError::NotAnObject));
        check(List::Tools, Era::Legacy, json!({}), &[], Err(ListError::NoList("tools")));
        check(List::Prompts, Era::Legacy, json!({ "prompts": {} }), &[], Err(ListError::NoList("prompts")));
    }
}
