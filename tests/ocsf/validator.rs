//! Holds records against the definitions of OCSF 1.8.0: what they do not name is an error, what they require is there, and
//! everything has its type. It shares no code with what makes the records.

use std::sync::LazyLock;

use serde_json::{Map, Value};

static API_ACTIVITY: LazyLock<Value> = LazyLock::new(|| parsed(include_str!("api_activity.json")));
static AUTHENTICATION: LazyLock<Value> = LazyLock::new(|| parsed(include_str!("authentication.json")));
static BASE_EVENT: LazyLock<Value> = LazyLock::new(|| parsed(include_str!("base_event.json")));
static OBJECTS: LazyLock<Value> = LazyLock::new(|| parsed(include_str!("objects.json")));

/// Members that say in words what another one says by number.
const CAPTIONS: [(&str, &str); 6] = [
    ("activity_id", "activity_name"),
    ("category_uid", "category_name"),
    ("class_uid", "class_name"),
    ("severity_id", "severity"),
    ("status_id", "status"),
    ("type_uid", "type_name"),
];

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("the definitions are JSON")
}

/// What is wrong with an event; nothing, when it is as OCSF wants it.
pub fn faults(event: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let class = match event["class_uid"].as_u64() {
        Some(6003) => &API_ACTIVITY,
        Some(3002) => &AUTHENTICATION,
        Some(0) => &BASE_EVENT,
        Some(_) | None => return vec![format!("class_uid {} has no definition here", event["class_uid"])],
    };
    let profiles: Vec<&str> =
        event["metadata"]["profiles"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    Check { profiles: &profiles, faults: &mut faults }.object("", event, class);
    let (activity, type_uid) = (event["activity_id"].as_u64(), event["type_uid"].as_u64());
    let class = event["class_uid"].as_u64().unwrap_or_default();
    if activity.map(|activity| class * 100 + activity) != type_uid {
        faults.push(format!("type_uid {type_uid:?} is not that of activity {activity:?}"));
    }
    faults
}

/// Fails when a line is not an event as OCSF wants it.
#[track_caller]
pub fn assert_valid(line: &str) {
    assert!(!line.contains(['\n', '\r']), "a record is one line");
    let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let faults = faults(&event);
    assert!(faults.is_empty(), "{faults:#?} in {event:#}");
}

struct Check<'a> {
    profiles: &'a [&'a str],
    faults: &'a mut Vec<String>,
}

impl Check<'_> {
    fn object(&mut self, path: &str, value: &Value, definition: &Value) {
        let Value::Object(members) = value else {
            return self.faults.push(format!("{path}: is not an object"));
        };
        let Value::Object(attributes) = &definition["attributes"] else {
            return self.faults.push(format!("{path}: has no definition"));
        };
        for (name, member) in members {
            let at = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            match attributes.get(name).filter(|attribute| self.has_profile_of(attribute)) {
                Some(attribute) => self.attribute(&at, member, attribute),
                None => self.faults.push(format!("{at}: is not known, or only with another profile")),
            }
        }
        for (name, attribute) in attributes {
            if attribute["requirement"] == "required"
                && self.has_profile_of(attribute)
                && !members.contains_key(name)
            {
                self.faults.push(format!("{path}: lacks {name}"));
            }
        }
        self.constraints(path, members, &definition["constraints"]);
        self.captions(path, members, attributes);
    }

    fn has_profile_of(&self, attribute: &Value) -> bool {
        attribute["profile"].as_str().is_none_or(|profile| self.profiles.contains(&profile))
    }

    fn constraints(&mut self, path: &str, members: &Map<String, Value>, constraints: &Value) {
        let count = |names: &Value| {
            let names = names.as_array().into_iter().flatten().filter_map(Value::as_str);
            names.filter(|name| members.contains_key(*name)).count()
        };
        for (constraint, names) in constraints.as_object().into_iter().flatten() {
            let holds = match constraint.as_str() {
                "at_least_one" => count(names) >= 1,
                "just_one" => count(names) == 1,
                _ => false,
            };
            if !holds {
                self.faults.push(format!("{path}: {constraint} of {names}"));
            }
        }
    }

    fn captions(&mut self, path: &str, members: &Map<String, Value>, attributes: &Map<String, Value>) {
        for (number, word) in CAPTIONS {
            let (Some(number_value), Some(said)) = (members.get(number), members.get(word)) else { continue };
            // What OCSF has no word for has the source's own.
            let caption = &attributes[number]["enum"][number_value.to_string()];
            let is_other = number_value.as_u64().is_some_and(|number| number == 99);
            if !is_other && caption != said {
                self.faults.push(format!("{path}: {word} is {said}, and not {caption}"));
            }
        }
    }

    fn attribute(&mut self, path: &str, value: &Value, attribute: &Value) {
        match (attribute["is_array"] == true, value) {
            (true, Value::Array(values)) => {
                if values.is_empty() {
                    self.faults.push(format!("{path}: is empty"));
                }
                for (index, value) in values.iter().enumerate() {
                    self.one(&format!("{path}[{index}]"), value, attribute);
                }
            }
            (true, _) => self.faults.push(format!("{path}: is not a list")),
            (false, value) => self.one(path, value, attribute),
        }
    }

    fn one(&mut self, path: &str, value: &Value, attribute: &Value) {
        let kind = attribute["type"].as_str().expect("each attribute has a type");
        let has_type = match kind {
            // Whatever the source has beside.
            "object" => value.is_object(),
            "json_t" => true,
            "string_t" | "url_t" | "file_path_t" | "hostname_t" => value.is_string(),
            "ip_t" => value.as_str().is_some_and(|text| text.parse::<std::net::IpAddr>().is_ok()),
            "email_t" => value.as_str().is_some_and(|text| text.contains('@')),
            "boolean_t" => value.is_boolean(),
            "integer_t" | "long_t" => value.as_i64().is_some(),
            "float_t" => value.is_number(),
            // Milliseconds since 1970. When something happened is after 2001 and before 2286, as seconds and microseconds are
            // not; a token may say of its end what it likes.
            "timestamp_t" => value.as_i64().is_some_and(|time| {
                path.contains('.') || (1_000_000_000_000..10_000_000_000_000).contains(&time)
            }),
            "port_t" => value.as_u64().is_some_and(|port| port <= 65_535),
            object => return self.object(path, value, &OBJECTS[object]),
        };
        if !has_type {
            return self.faults.push(format!("{path}: {value} is not of type {kind}"));
        }
        if let Some(values) = attribute["enum"].as_object() {
            let named = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            if !values.contains_key(&named) {
                self.faults.push(format!("{path}: {value} is none of those there are"));
            }
        }
    }
}
