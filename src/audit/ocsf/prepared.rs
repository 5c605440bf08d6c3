//! The parts of a call's record that are the same for every call of a caller, on a tool, or with a credential: most of it. They are
//! written once, stay with what they are about, and every record takes them as they are.

use std::borrow::Cow;
use std::sync::LazyLock;

use super::json::{Object, append_escaped};
use super::parts::{Endpoint, Idp, Session, User};
use super::text::Texts;
use super::{OCSF_VERSION, PRODUCT};
use crate::audit::record::{CallRecord, CredentialNote, RequestId};
use crate::identity::Caller;
use crate::memo::{Memo, Pieces, Recalled};
use crate::tool::Tool;

/// Members of `metadata` that every call's record has.
static METADATA: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut members = Vec::new();
    let mut object = Object::of_members(&mut members);
    object.text("version", OCSF_VERSION);
    object.value("profiles", &["security_control", "trace"]);
    object.value("product", &PRODUCT);
    members
});

/// The pieces about a caller, in the order in which they are written.
mod of_caller {
    pub const ACTOR: usize = 0;
    pub const TENANT: usize = 1;
    pub const PROOFS: usize = 2;
    pub const WHO: usize = 3;
    pub const BY: usize = 4;
}

/// Those about a tool.
mod of_tool {
    pub const DESTINATION: usize = 0;
    pub const API: usize = 1;
    pub const MODE: usize = 2;
    pub const WHAT: usize = 3;
}

/// Parts of a record.
pub struct Prepared {
    /// About who calls.
    caller: Recalled,
    /// About what is called.
    tool: Recalled,
    /// About the credential, where there is one.
    credential: Option<Recalled>,
}

impl Prepared {
    /// Those of this record: what earlier records left, and what is written for it.
    pub fn of(record: &CallRecord, texts: &Texts) -> Self {
        let privacy = (record.privacy.number(), "");
        let write = |pieces: &mut Pieces| write_caller(record.caller.as_deref(), record, texts, pieces);
        let caller = match &record.caller {
            // Whatever is hidden in the record of one of their calls is hidden in all.
            Some(caller) => caller.memo().recall(privacy, write),
            None => Recalled::once(write),
        };
        let credential = record.credential.as_ref().map(|note| {
            shared(&note.memo, privacy, texts, |texts, pieces| write_credential(note, record, texts, pieces))
        });
        Self { caller, tool: tool(record, texts), credential }
    }

    /// `actor`.
    pub fn actor(&self) -> &[u8] {
        self.caller.piece(of_caller::ACTOR)
    }

    /// Those of `metadata`, but for what is of the record itself.
    pub fn metadata(&self) -> [&[u8]; 2] {
        [&METADATA, self.caller.piece(of_caller::TENANT)]
    }

    /// `dst_endpoint` and `resources`.
    pub fn destination(&self) -> &[u8] {
        self.tool.piece(of_tool::DESTINATION)
    }

    /// Those of `api` that say of which connector it is.
    pub fn api(&self) -> &[u8] {
        self.tool.piece(of_tool::API)
    }

    /// Those of `unmapped.obo`: on whose behalf, in which mode, with what.
    pub fn delegation(&self) -> [&[u8]; 3] {
        let credential = self.credential.as_ref().map(|credential| credential.piece(0));
        [self.tool.piece(of_tool::MODE), self.caller.piece(of_caller::PROOFS), credential.unwrap_or_default()]
    }

    /// Who called what through which agent: how the sentence for people begins. It is escaped already.
    pub fn sentence(&self) -> [&[u8]; 4] {
        [
            self.caller.piece(of_caller::WHO),
            b" called ",
            self.tool.piece(of_tool::WHAT),
            self.caller.piece(of_caller::BY),
        ]
    }

    /// Whether a text or a list was cut.
    pub fn is_cut(&self) -> bool {
        self.caller.is_cut
            || self.tool.is_cut
            || self.credential.as_ref().is_some_and(|credential| credential.is_cut)
    }
}

/// What is about a tool, which many people call.
fn tool(record: &CallRecord, texts: &Texts) -> Recalled {
    let write =
        |texts: &Texts, pieces: &mut Pieces| write_tool(record.tool.as_deref(), record, texts, pieces);
    let Some(tool) = &record.tool else { return Recalled::once(|pieces| write(texts, pieces)) };
    let destination = record.destination.as_deref();
    let address = destination.map(|destination| (u64::from(destination.port), &*destination.host));
    shared(&tool.memo, address.unwrap_or_default(), texts, write)
}

/// What records say of something that several people share: written as if nobody in particular called. For one whose name or token may
/// stand in it, or in what was cut off it, it is written anew.
fn shared(memo: &Memo, key: (u64, &str), texts: &Texts, write: impl Fn(&Texts, &mut Pieces)) -> Recalled {
    let recalled = memo.recall(key, |pieces| write(&Texts::default(), pieces));
    match recalled.is_cut || texts.may_stand_in(recalled.text()) {
        true => Recalled::once(|pieces| write(texts, pieces)),
        false => recalled,
    }
}

/// Writes about who calls.
fn write_caller(caller: Option<&Caller>, record: &CallRecord, texts: &Texts, pieces: &mut Pieces) {
    let mut called = Default::default();
    pieces.is_cut = texts.cut_by(|| {
        let user = caller.and_then(|caller| User::of(caller, &record.privacy, texts));
        let agent = caller.and_then(Caller::actor).map(|actor| texts.name(actor.as_str()));
        called = who(user.as_ref(), agent.as_deref(), record, texts);
        pieces.write(|piece| {
            Object::of_members(piece)
                .object("actor", |object| write_actor(caller, user, agent, record, texts, object));
        });
        pieces.write(|piece| {
            let tenant = caller.and_then(|caller| caller.tenant().id());
            Object::of_members(piece).optional_text("tenant_uid", tenant.map(|tenant| texts.name(tenant)));
        });
        pieces.write(|piece| {
            let mut object = Object::of_members(piece);
            let proofs = caller.map(proofs).unwrap_or_default();
            if !proofs.is_empty() {
                object.value("proofs", &proofs);
            }
            let token = caller.map(|caller| caller.subject_token().digest());
            object.optional_text("subject_token", token.map(|digest| record.privacy.token(&digest)));
        });
    });
    let (who, by) = called;
    pieces.write(|piece| append_escaped(piece, &who));
    pieces.write(|piece| append_escaped(piece, &by));
}

fn write_actor(
    caller: Option<&Caller>,
    user: Option<User<'_>>,
    agent: Option<Cow<'_, str>>,
    record: &CallRecord,
    texts: &Texts,
    object: &mut Object<'_>,
) {
    let Some(caller) = caller else {
        // OCSF wants at least one of the actor's members.
        return object.text("app_name", if record.is_page { "browser" } else { "unauthenticated" });
    };
    user.iter().for_each(|user| object.value("user", user));
    object.optional_text("app_uid", agent);
    object.value("session", &Session::of(caller, &record.privacy, texts));
    object.value("idp", &Idp::of(caller, texts));
}

/// Who called, and through which agent, of what stands in the record elsewhere.
fn who(user: Option<&User<'_>>, agent: Option<&str>, record: &CallRecord, texts: &Texts) -> (String, String) {
    let agent = agent.map(|agent| texts.phrase(agent));
    match (user, agent) {
        (Some(user), Some(agent)) => (texts.phrase(user.called()).into_owned(), format!(" by {agent}")),
        (Some(user), None) => (texts.phrase(user.called()).into_owned(), String::new()),
        (None, Some(agent)) => (agent.into_owned(), String::new()),
        (None, None) if record.is_page => ("a browser".to_owned(), String::new()),
        (None, None) => ("somebody unknown".to_owned(), String::new()),
    }
}

/// Writes about what is called.
fn write_tool(tool: Option<&Tool>, record: &CallRecord, texts: &Texts, pieces: &mut Pieces) {
    let connector = record.connector.as_ref().map(|connector| connector.as_str());
    pieces.is_cut = texts.cut_by(|| {
        pieces.write(|piece| {
            let mut object = Object::of_members(piece);
            if let Some(destination) = &record.destination {
                object.value("dst_endpoint", &Endpoint::of(destination, connector, texts));
            }
            if let Some(tool) = tool {
                object.list("resources", |list| {
                    list.object(|object| {
                        object.text("name", &texts.made(tool.to_string()));
                        object.text("type", tool.primitive.as_str());
                        object.text("namespace", &texts.name(tool.connector.as_str()));
                        object.number("role_id", 1);
                    });
                });
            }
        });
        pieces.write(|piece| {
            if let Some(connector) = connector {
                Object::of_members(piece)
                    .object("service", |object| object.text("name", &texts.name(connector)));
            }
        });
        pieces.write(|piece| write_mode(tool, connector, texts, &mut Object::of_members(piece)));
    });
    let what = match tool {
        Some(tool) => texts.phrase(&tool.to_string()).into_owned(),
        None => texts.phrase(&super::call::operation(record, texts)).into_owned(),
    };
    pieces.write(|piece| append_escaped(piece, &what));
}

/// In which mode, and what the credential is to be good for.
fn write_mode(tool: Option<&Tool>, connector: Option<&str>, texts: &Texts, object: &mut Object<'_>) {
    object.optional_text("connector", connector.map(|connector| texts.name(connector)));
    let Some(tool) = tool else { return };
    object.text("tool", &texts.name(tool.name.as_str()));
    object.text("identity", tool.identity.as_str());
    let target = &tool.target;
    object.value("scopes_requested", &texts.list(target.scopes.iter()));
    let audience = target.audience.as_ref().map(|audience| texts.name(audience.as_str()));
    object.optional_text("audience", audience);
    let server = target.authorization_server.as_ref().map(|server| texts.name(server.as_str()));
    object.optional_text("authorization_server", server);
}

/// Writes what the credential is good for, which it is, and where it is from.
fn write_credential(note: &CredentialNote, record: &CallRecord, texts: &Texts, pieces: &mut Pieces) {
    pieces.is_cut = texts.cut_by(|| {
        pieces.write(|piece| {
            let mut object = Object::of_members(piece);
            if let Some(granted) = &note.granted {
                object.value("scopes_granted", &texts.list(granted.iter()));
            }
            // The record of the exchange that the token is from.
            object.optional_text("exchange", note.exchange.map(RequestId::text));
            object.text("delegated_token", &record.privacy.token(&note.token));
        });
    });
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
