//! The parts of a call's record that are the same for every call of a caller on a tool: most of it. They are written once, and
//! every record takes them as they are.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock, Weak};

use super::json::Object;
use super::parts::{Endpoint, Idp, Session, User};
use super::text::Texts;
use super::{OCSF_VERSION, PRODUCT};
use crate::audit::keyed::Privacy;
use crate::audit::record::{CallRecord, Destination, RequestId};
use crate::identity::{Caller, RuleName, Scopes};
use crate::tool::Tool;
use crate::worker::PairCache;

/// What has been prepared, for as long as a caller is remembered and a tool configured.
static PREPARED: LazyLock<PairCache<Caller, Tool, Prepared>> = LazyLock::new(PairCache::new);

/// Of what kind a call is, as OCSF has it: class API Activity (6003), and in it an activity.
#[derive(PartialEq, Eq)]
pub struct Kind {
    /// The activity's number.
    pub activity_id: u32,
    /// Its name.
    pub activity: Cow<'static, str>,
    /// The name of class and activity.
    pub type_name: &'static str,
    /// How bad it is.
    pub severity_id: u32,
}

/// What a record says of the credential that its call had.
#[derive(Clone, PartialEq, Eq)]
struct CredentialNote {
    client_id: Option<Arc<str>>,
    granted: Option<Scopes>,
    exchange: Option<RequestId>,
    token: Option<[u8; 32]>,
}

/// Members that the last record has about something. Most calls are about the same as the one before.
struct Last<T> {
    about: T,
    members: Box<[u8]>,
    is_cut: bool,
}

impl<T> Last<T> {
    /// Those of the last record, or where that was not about the same, those that are written now.
    fn or_written<'l>(
        last: &'l mut Option<Self>,
        is_same: impl FnOnce(&T) -> bool,
        about: impl FnOnce() -> T,
        texts: &Texts,
        write: impl FnOnce(&mut Object<'_>),
    ) -> &'l [u8] {
        last.take_if(|last| !is_same(&last.about));
        let last = last.get_or_insert_with(|| {
            let mut members = Vec::new();
            let is_cut = texts.cut_by(|| write(&mut Object::of_members(&mut members)));
            Self { about: about(), members: members.into(), is_cut }
        });
        if last.is_cut {
            let _ = texts.cut_mark();
        }
        &last.members
    }
}

/// Parts of a record.
pub struct Prepared {
    /// `actor`, `dst_endpoint` and `resources`.
    pub members: Box<[u8]>,
    /// Those of `api`.
    pub api: Box<[u8]>,
    /// Those of `metadata`.
    pub metadata: Box<[u8]>,
    /// Those of `unmapped.obo`.
    pub delegation: Box<[u8]>,
    /// Who called what: how the sentence for people begins.
    pub sentence: Box<str>,
    /// Whether a text or a list was cut.
    pub is_cut: bool,
    /// How the last record began, and of what kind of call it was.
    opening: Option<(Kind, Box<[u8]>)>,
    /// What the last record says of what policy decided, and by which rules.
    authorizations: Option<Last<(Arc<[RuleName]>, bool)>>,
    /// What it says of the credential that its call had.
    credential: Option<Last<CredentialNote>>,
    /// By which configuration they were made. They keep nothing of it, and nothing else has its address.
    privacy: Weak<Privacy>,
    destination: Option<Weak<Destination>>,
}

impl Prepared {
    /// What `then` makes of the parts of a record: of those that an earlier call left, where there was one.
    pub fn with<R>(record: &CallRecord, texts: &Texts, then: impl FnOnce(&mut Self) -> R) -> R {
        let (Some(caller), Some(tool)) = (&record.caller, &record.tool) else {
            return then(&mut Self::of(record, texts));
        };
        let prepare = || Self::of(record, texts);
        PREPARED.with((caller, tool), prepare, |prepared| {
            if !prepared.is_for(record) {
                *prepared = Self::of(record, texts);
            }
            then(prepared)
        })
    }

    /// The members with which the record of a call of this kind begins.
    pub fn opening(&mut self, kind: Kind) -> &[u8] {
        if self.opening.as_ref().is_none_or(|(last, _)| *last != kind) {
            let mut members = Vec::new();
            write_opening(&kind, &mut Object::of_members(&mut members));
            self.opening = Some((kind, members.into()));
        }
        self.opening.as_ref().map_or(&[], |(_, members)| members)
    }

    /// The members of `unmapped.obo` about the credential that the call had.
    pub fn credential(&mut self, record: &CallRecord, texts: &Texts) -> &[u8] {
        let is_of_it = |note: &CredentialNote| {
            note.client_id == record.client_id
                && note.granted == record.granted
                && note.exchange == record.exchange
                && note.token == record.delegated_token
        };
        let note = || CredentialNote {
            client_id: record.client_id.clone(),
            granted: record.granted.clone(),
            exchange: record.exchange,
            token: record.delegated_token,
        };
        let write = |object: &mut Object<'_>| write_credential(record, texts, object);
        Last::or_written(&mut self.credential, is_of_it, note, texts, write)
    }

    /// The member that says what policy decided, and by which rules.
    pub fn authorizations(&mut self, record: &CallRecord, texts: &Texts) -> &[u8] {
        let denied = record.refusal.as_ref().is_some_and(|refusal| refusal.denied);
        let is_same = |last: &(Arc<[RuleName]>, bool)| *last == (Arc::clone(&record.policies), denied);
        let about = || (Arc::clone(&record.policies), denied);
        let write = |object: &mut Object<'_>| write_authorizations(&record.policies, denied, texts, object);
        Last::or_written(&mut self.authorizations, is_same, about, texts, write)
    }

    fn of(record: &CallRecord, texts: &Texts) -> Self {
        let (mut members, mut api, mut metadata, mut delegation) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let user = record.caller.as_deref().and_then(|caller| User::of(caller, &record.privacy, texts));
        let agent = record.caller.as_deref().and_then(Caller::actor).map(|actor| texts.name(actor.as_str()));
        let sentence = sentence(record, user.as_ref(), agent.as_deref(), texts);
        let connector = record.connector.as_ref().map(|connector| connector.as_str());
        let mut object = Object::of_members(&mut members);
        object.object("actor", |object| write_actor(record, user, agent, texts, object));
        if let Some(destination) = &record.destination {
            object.value("dst_endpoint", &Endpoint::of(destination, connector, texts));
        }
        if let Some(tool) = &record.tool {
            object.list("resources", |list| {
                list.object(|object| {
                    object.text("name", &texts.made(tool.to_string()));
                    object.text("type", tool.primitive.as_str());
                    object.text("namespace", &texts.name(tool.connector.as_str()));
                    object.number("role_id", 1);
                });
            });
        }
        if let Some(connector) = connector {
            Object::of_members(&mut api)
                .object("service", |object| object.text("name", &texts.name(connector)));
        }
        write_metadata(record, texts, &mut Object::of_members(&mut metadata));
        write_delegation(record, texts, &mut Object::of_members(&mut delegation));
        Self {
            members: members.into(),
            api: api.into(),
            metadata: metadata.into(),
            delegation: delegation.into(),
            sentence: sentence.into(),
            is_cut: texts.is_cut(),
            opening: None,
            authorizations: None,
            credential: None,
            privacy: Arc::downgrade(&record.privacy),
            destination: record.destination.as_ref().map(Arc::downgrade),
        }
    }

    /// Whether they were made by the same configuration.
    fn is_for(&self, record: &CallRecord) -> bool {
        let destination = record.destination.as_ref().map(Arc::as_ptr);
        self.destination.as_ref().map(Weak::as_ptr) == destination
            && self.privacy.as_ptr() == Arc::as_ptr(&record.privacy)
    }
}

fn write_actor(
    record: &CallRecord,
    user: Option<User<'_>>,
    agent: Option<Cow<'_, str>>,
    texts: &Texts,
    object: &mut Object<'_>,
) {
    let Some(caller) = record.caller.as_deref() else {
        // OCSF wants at least one of the actor's members.
        return object.text("app_name", if record.is_page { "browser" } else { "unauthenticated" });
    };
    user.iter().for_each(|user| object.value("user", user));
    object.optional_text("app_uid", agent);
    object.value("session", &Session::of(caller, &record.privacy, texts));
    object.value("idp", &Idp::of(caller, texts));
}

/// Who called what, of what stands in the record elsewhere.
fn sentence(record: &CallRecord, user: Option<&User<'_>>, agent: Option<&str>, texts: &Texts) -> String {
    let agent = agent.map(|agent| texts.phrase(agent));
    let who = match (user, &agent) {
        (Some(user), _) => texts.phrase(user.called()),
        (None, Some(agent)) => Cow::Borrowed(&**agent),
        (None, None) if record.is_page => Cow::Borrowed("a browser"),
        (None, None) => Cow::Borrowed("somebody unknown"),
    };
    let what = match &record.tool {
        Some(tool) => tool.to_string(),
        None => super::call::operation(record, texts).into_owned(),
    };
    let what = texts.phrase(&what);
    let sentence = match (user, &agent) {
        (Some(_), Some(agent)) => format!("{who} called {what} by {agent}: "),
        (Some(_), None) | (None, _) => format!("{who} called {what}: "),
    };
    texts.made(sentence).into_owned()
}

/// On whose behalf, and in which mode.
fn write_delegation(record: &CallRecord, texts: &Texts, object: &mut Object<'_>) {
    let connector = record.connector.as_ref().map(|connector| texts.name(connector.as_str()));
    object.optional_text("connector", connector);
    if let Some(tool) = &record.tool {
        object.text("tool", &texts.name(tool.name.as_str()));
        object.text("identity", tool.identity.as_str());
    }
    let proofs = record.caller.as_deref().map(proofs).unwrap_or_default();
    if !proofs.is_empty() {
        object.value("proofs", &proofs);
    }
    if let Some(target) = record.tool.as_ref().map(|tool| &tool.target) {
        object.value("scopes_requested", &texts.list(target.scopes.iter()));
        let audience = target.audience.as_ref().map(|audience| texts.name(audience.as_str()));
        object.optional_text("audience", audience);
        let server = target.authorization_server.as_ref().map(|server| texts.name(server.as_str()));
        object.optional_text("authorization_server", server);
    }
    let token = record.caller.as_deref().map(|caller| caller.subject_token().digest());
    object.optional_text("subject_token", token.map(|digest| record.privacy.token(&digest)));
}

/// Of which class it is, and how bad.
fn write_opening(kind: &Kind, object: &mut Object<'_>) {
    object.number("class_uid", 6003);
    object.text("class_name", "API Activity");
    object.number("category_uid", 6);
    object.number("activity_id", kind.activity_id);
    object.text("activity_name", &kind.activity);
    object.number("type_uid", 600_300 + kind.activity_id);
    object.text("type_name", kind.type_name);
    object.number("severity_id", kind.severity_id);
}

fn write_metadata(record: &CallRecord, texts: &Texts, object: &mut Object<'_>) {
    object.text("version", OCSF_VERSION);
    let tenant = record.caller.as_deref().and_then(|caller| caller.tenant().id());
    object.optional_text("tenant_uid", tenant.map(|tenant| texts.name(tenant)));
    object.value("profiles", &["security_control", "trace"]);
    object.value("product", &PRODUCT);
}

/// What policy decided, and by which rules and policies.
fn write_authorizations(policies: &[RuleName], denied: bool, texts: &Texts, object: &mut Object<'_>) {
    let decision = if denied { "Denied" } else { "Allowed" };
    if policies.is_empty() && !denied {
        return;
    }
    object.list("authorizations", |list| {
        if policies.is_empty() {
            list.object(|authorization| authorization.text("decision", decision));
        }
        for policy in texts.list(policies.iter().map(|policy| policy.as_str())) {
            list.object(|authorization| {
                authorization.text("decision", decision);
                authorization.object("policy", |object| object.text("name", &policy));
            });
        }
    });
}

/// As which client of the authorization server the gateway obtained it, what it is good for, and which it is.
fn write_credential(record: &CallRecord, texts: &Texts, object: &mut Object<'_>) {
    object.optional_text("gateway_client_id", record.client_id.as_deref().map(|id| texts.name(id)));
    if let Some(granted) = &record.granted {
        object.value("scopes_granted", &texts.list(granted.iter()));
    }
    // The record of the exchange that the token is from.
    object.optional_text("exchange", record.exchange.map(RequestId::text));
    let token = record.delegated_token.as_ref();
    object.optional_text("delegated_token", token.map(|digest| record.privacy.token(digest)));
}

/// There is no caller before these have been checked.
fn proofs(caller: &Caller) -> Vec<&'static str> {
    let confirmation = caller.confirmation().copied().unwrap_or_default();
    let proved = [
        (confirmation.key.is_some(), "dpop"),
        (confirmation.certificate.is_some(), "certificate"),
        (caller.actor_token().is_some(), "actor_token"),
    ];
    proved.into_iter().filter_map(|(proved, name)| proved.then_some(name)).collect()
}
