//! What of a server's lists an agent gets to see: what it may use, and everything that the server says of it.
//!
//! A filtered list is no protection; a call is decided about when it comes. It is there so that agents do not try what they
//! cannot do, and do not learn what there is.

use serde_json::{Map, Value};

use super::era::Era;
use super::method::Method;
use crate::strict_json::same_but_for_case;
use crate::tool::Primitive;

/// Most items of one page. The largest servers have some hundred tools, and long lists come in pages.
const ITEMS_MAX: usize = 10_000;

/// A list that a server gives, page by page.
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

/// Why a result is no list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ListError {
    /// It is no object.
    #[error("the list's result is not an object")]
    NotAnObject,
    /// The list is not there.
    #[error("the result has no \"{0}\"")]
    Missing(&'static str),
    /// It has more items than are decided about at once.
    #[error("\"{0}\" in the result has more than {ITEMS_MAX} items")]
    TooMany(&'static str),
    /// The list is no array.
    #[error("\"{0}\" in the result is not an array")]
    NotAnArray(&'static str),
    /// There is another list, which differs in nothing but case: there are agents to whom it is the same.
    #[error("the result has \"{0}\" in another case as well")]
    CaseTwin(&'static str),
}

impl List {
    /// All lists.
    pub const ALL: [Self; 4] = [Self::Tools, Self::Prompts, Self::Resources, Self::ResourceTemplates];

    /// Whether a result has this list, or something that a reader may take for it.
    pub fn is_in(self, result: &Map<String, Value>) -> bool {
        result.contains_key(self.member()) || has_twin(result, self.member())
    }

    /// The list that a method asks for. `None`: it asks for none of these.
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

    /// Where the items stand in the result.
    const fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::ResourceTemplates => "resourceTemplates",
        }
    }

    /// Where the name stands in an item.
    const fn name(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::ResourceTemplates => "uriTemplate",
        }
    }

    /// What an item is. A template stands for resources, and is named by its own text.
    const fn primitive(self) -> Primitive {
        match self {
            Self::Tools => Primitive::Tool,
            Self::Prompts => Primitive::Prompt,
            Self::Resources | Self::ResourceTemplates => Primitive::Resource,
        }
    }

    /// Takes out of a page what is not shown. An item without a name is not shown: nobody can say what it is. The rest stays
    /// as the server sent it and in its order, `nextCursor` too, even of a page on which nothing is left. Whoever caches the
    /// page is told that it is for this caller alone.
    ///
    /// # Errors
    ///
    /// [`ListError`], when the result is no such page. Then nothing of it is known to be fit for the agent.
    pub fn filter(
        self,
        result: &mut Value,
        era: Era,
        mut is_shown: impl FnMut(Primitive, &str) -> bool,
    ) -> Result<(), ListError> {
        let Value::Object(result) = result else { return Err(ListError::NotAnObject) };
        if has_twin(result, self.member()) {
            return Err(ListError::CaseTwin(self.member()));
        }
        let items = match result.get_mut(self.member()) {
            Some(Value::Array(items)) => items,
            Some(_) => return Err(ListError::NotAnArray(self.member())),
            None => return Err(ListError::Missing(self.member())),
        };
        if items.len() > ITEMS_MAX {
            return Err(ListError::TooMany(self.member()));
        }
        items.retain(|item| self.name_of(item).is_some_and(|name| is_shown(self.primitive(), name)));
        let is_cacheable =
            era == Era::Modern || ["ttlMs", "cacheScope"].iter().any(|hint| result.contains_key(*hint));
        if is_cacheable {
            result.insert("cacheScope".to_owned(), "private".into());
        }
        Ok(())
    }

    /// The name of an item, if everybody reads the same one.
    fn name_of(self, item: &Value) -> Option<&str> {
        let item = item.as_object().filter(|item| !has_twin(item, self.name()))?;
        item.get(self.name())?.as_str().filter(|name| !name.is_empty())
    }
}

fn has_twin(members: &Map<String, Value>, member: &str) -> bool {
    members.keys().any(|name| name != member && same_but_for_case(name, member))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(list: List, era: Era, page: &Value, hidden: &[&str], expected: &Value) -> Vec<Primitive> {
        let (mut result, mut asked) = (page.clone(), Vec::new());
        let filtered = list.filter(&mut result, era, |primitive, name| {
            asked.push(primitive);
            !hidden.contains(&name)
        });
        // As text: the order counts.
        assert_eq!(result.to_string(), expected.to_string());
        assert_eq!(filtered, Ok(()));
        asked
    }

    #[test]
    fn what_is_hidden_is_taken_out_and_the_rest_stays() {
        let tool = |name: &str| {
            json!({ "name": name, "title": "T", "description": "D", "inputSchema": { "type": "object", "z": 1, "a": 2 },
                "annotations": { "readOnlyHint": true }, "_meta": { "k": [1.5] }, "execution": { "taskSupport": "optional" } })
        };
        let page =
            json!({ "_meta": { "x": 1 }, "tools": [tool("c"), tool("a"), tool("b")], "nextCursor": "n" });
        let left = json!({ "_meta": { "x": 1 }, "tools": [tool("c"), tool("b")], "nextCursor": "n" });
        let asked = check(List::Tools, Era::Legacy, &page, &["a"], &left);
        assert_eq!(asked, [Primitive::Tool; 3]);
        check(List::Tools, Era::Legacy, &page, &[], &page);
        let nothing = json!({ "_meta": { "x": 1 }, "tools": [], "nextCursor": "n" });
        check(List::Tools, Era::Legacy, &page, &["a", "b", "c"], &nothing);
    }

    #[test]
    fn prompts_and_resources_are_lists_too() {
        let prompts = json!({ "prompts": [{ "name": "a" }, { "name": "b" }] });
        let asked =
            check(List::Prompts, Era::Legacy, &prompts, &["a"], &json!({ "prompts": [{ "name": "b" }] }));
        assert_eq!(asked, [Primitive::Prompt; 2]);
        let item = |uri: &str, name: &str| json!({ "name": name, "uri": uri });
        let resources = json!({ "resources": [item("a:1", "b:2"), item("b:2", "a:1")] });
        let left = json!({ "resources": [item("a:1", "b:2")] });
        let asked = check(List::Resources, Era::Legacy, &resources, &["b:2"], &left);
        assert_eq!(asked, [Primitive::Resource; 2]);
        let templates = json!({ "resourceTemplates": [{ "uriTemplate": "a:{x}", "name": "t" }] });
        let asked = check(
            List::ResourceTemplates,
            Era::Legacy,
            &templates,
            &["a:{x}"],
            &json!({ "resourceTemplates": [] }),
        );
        assert_eq!(asked, [Primitive::Resource]);
    }

    #[test]
    fn a_page_is_cached_for_its_caller_alone() {
        let page = |rest: Value| {
            let mut page = json!({ "tools": [] });
            let members = page.as_object_mut().expect("an object");
            members.extend(rest.as_object().expect("an object").clone());
            page
        };
        for (era, sent, expected) in [
            (Era::Modern, json!({}), json!({ "cacheScope": "private" })),
            (
                Era::Modern,
                json!({ "cacheScope": "public", "ttlMs": 60_000 }),
                json!({ "cacheScope": "private", "ttlMs": 60_000 }),
            ),
            (Era::Legacy, json!({ "cacheScope": "public" }), json!({ "cacheScope": "private" })),
            (Era::Legacy, json!({ "ttlMs": 1 }), json!({ "ttlMs": 1, "cacheScope": "private" })),
            (Era::Legacy, json!({ "cacheScope": 7 }), json!({ "cacheScope": "private" })),
            (Era::Legacy, json!({}), json!({})),
        ] {
            check(List::Tools, era, &page(sent), &[], &page(expected));
        }
    }

    #[test]
    fn an_item_without_a_name_is_not_shown() {
        let page = json!({ "tools": [
            { "Name": "a" }, { "name": 1 }, { "name": null }, { "name": "" }, "a", null, ["a"], { "title": "a" }, { "name": "a", "NAME": "b" }, { "name": "a" },
        ]});
        let asked = check(List::Tools, Era::Legacy, &page, &[], &json!({ "tools": [{ "name": "a" }] }));
        assert_eq!(asked.len(), 1, "nobody is asked about what has no name");
    }

    #[test]
    fn what_is_no_page_is_an_error() {
        let filter = |mut result: Value| List::Tools.filter(&mut result, Era::Modern, |_, _| true);
        assert_eq!(filter(json!([{ "name": "a" }])), Err(ListError::NotAnObject));
        assert_eq!(filter(json!({ "prompts": [{ "name": "a" }] })), Err(ListError::Missing("tools")));
        for twin in [json!({ "Tools": [] }), json!({ "tools": [], "tool\u{17f}": [{ "name": "a" }] })] {
            assert_eq!(filter(twin), Err(ListError::CaseTwin("tools")));
        }
        assert_eq!(filter(json!({ "tools": { "name": "a" } })), Err(ListError::NotAnArray("tools")));
        let too_many = json!({ "tools": vec![0; ITEMS_MAX + 1] });
        assert_eq!(filter(too_many), Err(ListError::TooMany("tools")));
        assert_eq!(filter(json!({ "tools": null })), Err(ListError::NotAnArray("tools")));
    }

    #[test]
    fn each_list_has_its_method() {
        let lists: Vec<_> = Method::KNOWN.into_iter().filter_map(List::of).collect();
        assert_eq!(lists, List::ALL);
    }
}
