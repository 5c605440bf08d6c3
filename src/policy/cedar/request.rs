//! A call in the words of Cedar: its entities and its context.
//!
//! Only what some policy looks at is put into a request, and of a person's groups only those that some policy names: the
//! rest cannot matter, and costs. What does not depend on the call is made once.

use std::collections::{HashMap, HashSet};
use std::str::FromStr;
use std::sync::Arc;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression,
};

use super::relax::Looks;
use super::vocabulary::{ACTIONS, ArgumentNames, Realms, Vocabulary, action, entity_type};
use crate::identity::Caller;
use crate::policy::Call;
use crate::policy::rules::Kind;
use crate::tool::{Argument, ArgumentType, Arguments, Tool};

/// What turns calls into requests.
#[derive(Clone, Debug)]
pub struct Requests {
    types: Types,
    realms: Realms,
    argument_names: ArgumentNames,
    looks: Arc<Looks>,
    /// The groups and roles that policies name, by realm and name.
    groups: HashMap<String, HashMap<Arc<str>, EntityUid>>,
    roles: HashMap<String, HashMap<Arc<str>, EntityUid>>,
    /// For each kind of thing, the action on it.
    actions: Arc<[Entities; 3]>,
    /// The tools of the configuration, each with the action on it.
    tools: Arc<HashMap<EntityUid, KnownTool>>,
}

/// A tool as an entity, made ahead.
#[derive(Debug)]
struct KnownTool {
    tool: Arc<Tool>,
    entities: Entities,
}

/// A call as Cedar sees it.
pub struct Asked {
    pub request: Request,
    pub entities: Entities,
}

/// Who asks, and for what: what policies are looked up by. First the thing itself, then what it is in.
pub struct Parties {
    pub principals: Vec<EntityUid>,
    pub resources: Vec<EntityUid>,
}

/// Why a call, or a tool, cannot be put into Cedar's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inexpressible;

#[derive(Clone, Debug)]
struct Types {
    person: EntityTypeName,
    group: EntityTypeName,
    role: EntityTypeName,
    agent: EntityTypeName,
    connector: EntityTypeName,
    action: EntityTypeName,
    things: [EntityTypeName; 3],
}

impl Types {
    fn new() -> Self {
        let name = |name: &str| EntityTypeName::from_str(name).expect("a word is a name");
        Self {
            person: name("Person"),
            group: name("Group"),
            role: name("Role"),
            agent: name("Agent"),
            connector: name("Connector"),
            action: name("Action"),
            things: Kind::ALL.map(|kind| name(entity_type(kind))),
        }
    }

    fn thing(&self, kind: Kind) -> &EntityTypeName {
        match kind {
            Kind::Tool => &self.things[0],
            Kind::Prompt => &self.things[1],
            Kind::Resource => &self.things[2],
        }
    }
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

/// The action on a kind of thing, in the group of all actions.
fn actions(types: &Types, kind: Kind) -> Entities {
    let all = HashSet::from([uid(&types.action, ACTIONS)]);
    let action = Entity::new_no_attrs(uid(&types.action, action(kind)), all);
    Entities::from_entities([action], None).expect("one entity is in no circle and no other's way")
}

fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

fn texts<T: AsRef<str>>(list: impl IntoIterator<Item = T>) -> RestrictedExpression {
    RestrictedExpression::new_set(list.into_iter().map(|one| text(one.as_ref())))
}

impl Requests {
    /// For policies that look at this, and name these entities.
    pub fn new(
        vocabulary: &Vocabulary,
        looks: Looks,
        named: &HashSet<EntityUid>,
    ) -> Result<Self, Inexpressible> {
        let types = Types::new();
        let by_realm = |kind: &EntityTypeName| {
            let mut by_realm: HashMap<String, HashMap<Arc<str>, EntityUid>> = HashMap::new();
            for uid in named.iter().filter(|uid| uid.type_name() == kind) {
                // Which part is the realm, only the issuer can tell: each that it may be is looked up by itself.
                let id: &str = uid.id().unescaped();
                for (at, _) in id.match_indices('/') {
                    let (realm, name) = (&id[..at], &id[at + 1..]);
                    by_realm.entry(realm.to_owned()).or_default().insert(name.into(), uid.clone());
                }
            }
            by_realm
        };
        let (groups, roles) = (by_realm(&types.group), by_realm(&types.role));
        let mut requests = Self {
            realms: Realms::of(&vocabulary.issuers),
            argument_names: vocabulary.argument_names(),
            looks: Arc::new(looks),
            groups,
            roles,
            actions: Arc::new(Kind::ALL.map(|kind| actions(&types, kind))),
            tools: Arc::default(),
            types,
        };
        let mut tools = HashMap::new();
        for tool in vocabulary.connectors.iter().flat_map(|connector| &connector.tools) {
            let uid = requests.uid_of(tool, Kind::Tool);
            let entity = requests.thing(tool, Kind::Tool, uid.clone())?;
            let entities = requests.actions_on(Kind::Tool).clone().add_entities([entity], None);
            let entities = entities.map_err(|_| Inexpressible)?;
            tools.insert(uid, KnownTool { tool: Arc::clone(tool), entities });
        }
        requests.tools = Arc::new(tools);
        Ok(requests)
    }

    pub fn connector(&self, name: &str) -> EntityUid {
        uid(&self.types.connector, name)
    }

    pub fn is_connector(&self, uid: &EntityUid) -> bool {
        uid.type_name() == &self.types.connector
    }

    pub fn action(&self, kind: Kind) -> EntityUid {
        uid(&self.types.action, action(kind))
    }

    /// The kind of thing that this is the type of.
    pub fn kind_of(&self, name: &EntityTypeName) -> Option<Kind> {
        Kind::ALL.into_iter().find(|&kind| self.types.thing(kind) == name)
    }

    /// Whether this action, or group of actions, has the action on this kind in it.
    pub fn action_includes(&self, action: &EntityUid, kind: Kind) -> bool {
        let actions = uid(&self.types.action, ACTIONS);
        *action == actions || *action == self.action(kind)
    }

    /// Who asks, and for what.
    pub fn parties(&self, call: &Call<'_>) -> Parties {
        let Call { caller, tool, kind, .. } = call;
        let realm = self.realms.name(caller.issuer_name(), caller.tenant());
        let mut principals = vec![uid(&self.types.person, &format!("{realm}/{}", caller.subject()))];
        for (named, names) in [(&self.groups, caller.groups()), (&self.roles, caller.roles())] {
            let Some(named) = named.get(&realm) else { continue };
            principals.extend(names.iter().filter_map(|name| named.get(name)).cloned());
        }
        Parties { principals, resources: self.resources(tool, *kind) }
    }

    /// What a call is about: the thing, and its connector.
    pub fn resources(&self, tool: &Tool, kind: Kind) -> Vec<EntityUid> {
        vec![self.uid_of(tool, kind), self.connector(tool.connector.as_str())]
    }

    fn uid_of(&self, tool: &Tool, kind: Kind) -> EntityUid {
        uid(self.types.thing(kind), &format!("{}/{}", tool.connector, tool.name))
    }

    fn actions_on(&self, kind: Kind) -> &Entities {
        let [tools, prompts, resources] = &*self.actions;
        match kind {
            Kind::Tool => tools,
            Kind::Prompt => prompts,
            Kind::Resource => resources,
        }
    }

    /// The request about a thing.
    pub fn about_thing(&self, call: &Call<'_>, parties: &Parties) -> Result<Asked, Inexpressible> {
        let thing = parties.resources.first().ok_or(Inexpressible)?;
        // A tool that is named alike and declared otherwise is another one.
        let known = self.tools.get(thing).filter(|known| {
            known.tool.annotations == call.tool.annotations && known.tool.identity == call.tool.identity
        });
        match known {
            Some(known) => self.asked(call, parties, thing.clone(), &known.entities, None),
            None => {
                let entity = self.thing(call.tool, call.kind, thing.clone())?;
                self.asked(call, parties, thing.clone(), self.actions_on(call.kind), Some(entity))
            }
        }
    }

    /// The request about a connector as such.
    pub fn about_connector(&self, call: &Call<'_>, parties: &Parties) -> Result<Asked, Inexpressible> {
        let connector = parties.resources.last().ok_or(Inexpressible)?;
        self.asked(call, parties, connector.clone(), self.actions_on(call.kind), None)
    }

    fn asked(
        &self,
        call: &Call<'_>,
        parties: &Parties,
        resource: EntityUid,
        known: &Entities,
        entity: Option<Entity>,
    ) -> Result<Asked, Inexpressible> {
        let (person, groups) = parties.principals.split_first().ok_or(Inexpressible)?;
        let principal = self.person(call.caller, person.clone(), groups)?;
        let context = self.context(call)?;
        let request = Request::new(person.clone(), self.action(call.kind), resource, context, None);
        let entities = known.clone().add_entities([principal].into_iter().chain(entity), None);
        Ok(Asked {
            request: request.map_err(|_| Inexpressible)?,
            entities: entities.map_err(|_| Inexpressible)?,
        })
    }

    fn person(
        &self,
        caller: &Caller,
        person: EntityUid,
        groups: &[EntityUid],
    ) -> Result<Entity, Inexpressible> {
        let groups = groups.iter().cloned().collect();
        if !self.looks.principal {
            return Ok(Entity::new_no_attrs(person, groups));
        }
        let mut attributes = HashMap::from([
            ("issuer".to_owned(), text(caller.issuer_name().as_str())),
            ("subject".to_owned(), text(caller.subject().as_str())),
        ]);
        attributes.extend(caller.tenant().id().map(|tenant| ("tenant".to_owned(), text(tenant))));
        Entity::new(person, attributes, groups).map_err(|_| Inexpressible)
    }

    fn thing(&self, tool: &Tool, kind: Kind, uid: EntityUid) -> Result<Entity, Inexpressible> {
        let connector = HashSet::from([self.connector(tool.connector.as_str())]);
        if !self.looks.resource {
            return Ok(Entity::new_no_attrs(uid, connector));
        }
        let mut attributes = HashMap::from([("identity".to_owned(), text(tool.identity.as_str()))]);
        let name = if kind == Kind::Resource { "uri" } else { "name" };
        attributes.insert(name.to_owned(), text(tool.name.as_str()));
        if kind == Kind::Tool {
            let annotations = [
                ("read_only", tool.annotations.read_only),
                ("destructive", tool.annotations.destructive),
                ("idempotent", tool.annotations.idempotent),
                ("open_world", tool.annotations.open_world),
            ];
            let said = annotations.into_iter().filter_map(|(name, said)| Some((name.to_owned(), said?)));
            attributes.extend(said.map(|(name, said)| (name, RestrictedExpression::new_bool(said))));
        }
        Entity::new(uid, attributes, connector).map_err(|_| Inexpressible)
    }

    fn context(&self, call: &Call<'_>) -> Result<Context, Inexpressible> {
        let mut attributes: Vec<(String, RestrictedExpression)> = Vec::new();
        let mut put = |name: &str, value: &dyn Fn() -> Option<RestrictedExpression>| {
            if self.looks.at(name) {
                attributes.extend(value().map(|value| (name.to_owned(), value)));
            }
        };
        let Call { caller, client, now, .. } = *call;
        let authentication = caller.authentication();
        // How long ago somebody signed in must not become less when the wall clock is set back.
        let (now, latest) = (now.unix_seconds(), now.latest_unix_seconds());
        let arguments = call.arguments.map(|arguments| self.arguments(arguments)).transpose()?;
        put("arguments", &|| arguments.clone());
        put("agent", &|| {
            let agent = format!("{}/{}", caller.issuer_name(), caller.actor()?);
            Some(RestrictedExpression::new_entity_uid(uid(&self.types.agent, &agent)))
        });
        put("scopes", &|| Some(texts(caller.scopes().iter())));
        put("acr", &|| authentication.acr.as_deref().map(text));
        put("acrs", &|| Some(texts(&authentication.acrs)));
        put("amr", &|| Some(texts(&authentication.amr)));
        put("auth_time", &|| {
            caller.authenticated_at().map(|at| RestrictedExpression::new_datetime(datetime(at)))
        });
        put("time", &|| Some(RestrictedExpression::new_datetime(datetime(latest))));
        put("hour", &|| Some(number(now / SECONDS_PER_HOUR % 24)));
        put("weekday", &|| Some(number((now / SECONDS_PER_DAY + DAYS_FROM_MONDAY_TO_1970) % 7 + 1)));
        // A socket for both families shows an IPv4 address as an IPv6 one, which is in no IPv4 range.
        put("client", &|| Some(RestrictedExpression::new_ip(client.to_canonical().to_string())));
        Context::from_pairs(attributes).map_err(|_| Inexpressible)
    }

    fn arguments(&self, arguments: &Arguments) -> Result<RestrictedExpression, Inexpressible> {
        let values = arguments.iter().map(|(name, value)| {
            let (kind, value) = match value {
                Argument::String(value) => (ArgumentType::String, text(value)),
                Argument::Integer(value) => (ArgumentType::Integer, RestrictedExpression::new_long(*value)),
                Argument::Boolean(value) => (ArgumentType::Boolean, RestrictedExpression::new_bool(*value)),
                Argument::Strings(values) => (ArgumentType::Strings, texts(values)),
            };
            (self.argument_names.get(name, kind).to_string(), value)
        });
        RestrictedExpression::new_record(values).map_err(|_| Inexpressible)
    }
}

const SECONDS_PER_HOUR: u64 = 3_600;
const SECONDS_PER_DAY: u64 = 86_400;
/// 1970-01-01 was a Thursday.
const DAYS_FROM_MONDAY_TO_1970: u64 = 3;

fn number(value: u64) -> RestrictedExpression {
    RestrictedExpression::new_long(i64::try_from(value).unwrap_or(i64::MAX))
}

/// Seconds since 1970 UTC as Cedar reads a time: `2026-11-27T14:05:00Z`. It cannot read one after the year 9999.
fn datetime(unix_seconds: u64) -> String {
    let (days, second) = (unix_seconds / SECONDS_PER_DAY, unix_seconds % SECONDS_PER_DAY);
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days: years begin in March, so that a
    // leap day is the last of its year.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, turn) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year_of_era + era * 400 + turn;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_cedar_reads_it() {
        assert_eq!(datetime(0), "1970-01-01T00:00:00Z");
        assert_eq!(datetime(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(datetime(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(datetime(1_795_305_600), "2026-11-22T00:00:00Z");
        assert_eq!(datetime(4_107_542_399), "2100-02-28T23:59:59Z");
        assert_eq!(datetime(4_107_542_400), "2100-03-01T00:00:00Z");
        assert_eq!(datetime(253_402_300_799), "9999-12-31T23:59:59Z");
        let is_read = |at| {
            let pair = ("at".to_owned(), RestrictedExpression::new_datetime(datetime(at)));
            Context::from_pairs([pair]).is_ok()
        };
        assert!(is_read(253_402_300_799));
        assert!(!is_read(u64::MAX));
    }
}
