//! What people do on the pages, and what becomes of what they have connected.

use super::authentication::{exchange, failure, issued, record_of, token};
use super::*;
use crate::audit::authentication::{Authentication, ExchangeReason, Failure, Whom};
use crate::audit::deed::{Deed, DeedEnd, DeedKind, DeedServer, KnownPerson, PageVisit};
use crate::identity::{Issuer, IssuerName, PersonId, Subject};
use crate::tool::ToolName;

const KINDS: [DeedKind; 10] = [
    DeedKind::SignIn,
    DeedKind::SignOut,
    DeedKind::ForeignLink,
    DeedKind::Connect,
    DeedKind::Consent,
    DeedKind::Decline,
    DeedKind::Disconnect,
    DeedKind::ServiceRevocation,
    DeedKind::Confirm,
    DeedKind::DeclineCall,
];

fn person(subject: &str, name: &str) -> KnownPerson {
    KnownPerson {
        issuer_name: Some(IssuerName::new("contoso")),
        id: PersonId {
            issuer: Issuer::new("https://issuer.example"),
            tenant: Tenant::Named("t-1".into()),
            subject: Subject::new(subject),
        },
        name: Some(name.into()),
    }
}

fn visit() -> PageVisit {
    PageVisit {
        request: RequestId::parse("0123456789abcdef-00000007").expect("an identifier of the test"),
        person: Some(person("o-1-ada", "Ada Lovelace")),
        peer: peer(),
        method: Method::POST,
        path: "/account/disconnect".into(),
        user_agent: Some(http::HeaderValue::from_static("Firefox/150")),
    }
}

/// One in which everything is known.
fn deed(kind: DeedKind, end: DeedEnd) -> Deed {
    Deed {
        agent: Some(Actor::new("planner")),
        connector: Some(ConnectorName::new("crm")),
        account: Some("ada@crm.example".into()),
        requested: Some(Scopes::parse("contacts.read offline_access")),
        server: Some(DeedServer {
            name: IssuerName::new("connections/crm"),
            issuer: Some(Issuer::new("https://login.crm.example")),
            endpoint: Some(Destination { host: "login.crm.example".into(), port: 443 }),
            client_id: "gateway-client".into(),
        }),
        end,
        ..Deed::on_page(kind, &visit())
    }
}

fn event_under(deed: Deed, privacy: Arc<Privacy>) -> (String, Value) {
    written(&Record::Authentication(&record_of(Authentication::Deed(Box::new(deed)), privacy)))
}

fn event(deed: Deed) -> Value {
    event_under(deed, Privacy::of_this_run()).1
}

#[test]
fn a_deed_of_every_kind_and_end_is_an_event_as_ocsf_wants_it() {
    for kind in KINDS {
        let ends = [
            (DeedEnd::Done(None), kind.done(), "Success"),
            (DeedEnd::Done(Some(token())), kind.done(), "Success"),
            (DeedEnd::Failed(failure()), "consent", "Failure"),
            (DeedEnd::BrokeOff, "broke_off", "Failure"),
        ];
        for (end, outcome, status) in ends {
            for deed in [deed(kind, end.clone()), Deed { end: end.clone(), ..Deed::of(kind) }] {
                let value = event(deed);
                expect(&value, "/class_uid", json!(3002));
                expect(&value, "/unmapped/obo/kind", json!(kind.as_str()));
                expect(&value, "/unmapped/obo/outcome", json!(outcome));
                expect(&value, "/status", json!(status));
                let code = (status == "Failure").then(|| json!(outcome));
                assert_eq!(value.get("status_code"), code.as_ref());
            }
        }
    }
    let mut names: Vec<_> = KINDS.map(DeedKind::as_str).to_vec();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), KINDS.len());
}

#[test]
fn connecting_tells_who_let_which_agent_have_what_and_where() {
    let value = event(deed(DeedKind::Connect, DeedEnd::Done(Some(token()))));
    for (pointer, expected) in [
        ("/activity_id", json!(4)),
        ("/type_uid", json!(300_204)),
        ("/message", json!("Ada Lovelace connects an account of crm for planner: connected")),
        ("/user", json!({"uid": "o-1-ada", "name": "Ada Lovelace", "type_id": 1})),
        ("/session/issuer", json!("https://issuer.example")),
        ("/actor/app_uid", json!("gateway-client")),
        ("/actor/app_name", json!("obo-gateway pages")),
        ("/actor/idp", json!({"name": "connections/crm", "issuer": "https://login.crm.example"})),
        ("/service", json!({"name": "crm"})),
        ("/src_endpoint/ip", json!("192.0.2.7")),
        ("/dst_endpoint/hostname", json!("login.crm.example")),
        (
            "/http_request",
            json!({"http_method": "POST", "url": {"path": "/account/disconnect"}, "user_agent": "Firefox/150"}),
        ),
        ("/auth_protocol_id", json!(6)),
        ("/authentication_token/expiration_time", json!(1_800_003_600_000_u64)),
        ("/metadata/tenant_uid", json!("t-1")),
        ("/metadata/correlation_uid", json!("c-1")),
        ("/unmapped/obo/agent", json!("planner")),
        ("/unmapped/obo/connector", json!("crm")),
        ("/unmapped/obo/account", json!("ada@crm.example")),
        ("/unmapped/obo/for_request", json!("0123456789abcdef-00000007")),
        ("/unmapped/obo/scopes_requested", json!(["contacts.read", "offline_access"])),
        ("/unmapped/obo/scopes_granted", json!(["Mail.Read", "User.Read"])),
        ("/unmapped/obo/delegated_token", json!(Privacy::of_this_run().token(&[7; 32]))),
    ] {
        expect(&value, pointer, expected);
    }
}

#[test]
fn signing_in_is_a_logon_and_signing_out_a_logoff() {
    let sign_in =
        Deed { connector: None, agent: None, account: None, ..deed(DeedKind::SignIn, DeedEnd::Done(None)) };
    let value = event(sign_in);
    expect(&value, "/activity_name", json!("Logon"));
    expect(&value, "/auth_protocol", json!("OpenID"));
    expect(&value, "/service", json!({"name": "obo-gateway"}));
    expect(&value, "/message", json!("Ada Lovelace signs in to the pages: signed_in"));
    let sign_out = Deed { end: DeedEnd::Done(None), ..Deed::on_page(DeedKind::SignOut, &visit()) };
    let value = event(sign_out);
    expect(&value, "/activity_name", json!("Logoff"));
    expect(
        &value,
        "/actor/idp",
        json!({"name": "contoso", "issuer": "https://issuer.example", "tenant_uid": "t-1"}),
    );
}

#[test]
fn who_is_not_known_is_nobody() {
    let end = DeedEnd::Failed(Failure::of("not_begun", Fault::User, "it was begun elsewhere"));
    let value = event(Deed { end, ..Deed::of(DeedKind::SignIn) });
    expect(&value, "/user", json!({"name": "unknown", "type_id": 0}));
    expect(&value, "/message", json!("somebody unknown signs in to the pages: not_begun"));
    expect(&value, "/status_detail", json!("it was begun elsewhere"));
    assert_eq!(value.pointer("/session"), None);
}

#[test]
fn a_link_that_somebody_else_opened_names_both() {
    let end = DeedEnd::Failed(Failure::of("other_person", Fault::User, "the link is for another person"));
    let owner = Some(person("o-2-bob", "Bob"));
    let foreign = Deed { owner, account: None, ..deed(DeedKind::ForeignLink, end) };
    let value = event(foreign.clone());
    expect(&value, "/user/uid", json!("o-1-ada"));
    expect(&value, "/unmapped/obo/owner", json!("o-2-bob"));
    expect(
        &value,
        "/message",
        json!("Ada Lovelace opens somebody else's link of planner for crm: other_person"),
    );
    let (line, value) = event_under(foreign, pseudonymous());
    expect(&value, "/unmapped/obo/owner", json!(pseudonymous().person("t-1", "o-2-bob")));
    assert!(!line.contains("o-2-bob") && !line.contains("o-1-ada"), "{line}");
}

#[test]
fn a_confirmation_tells_which_question_it_answers() {
    let deed = Deed {
        tool: Some(ToolName::new("delete_contact")),
        question: Some("q-1".into()),
        ..deed(DeedKind::Confirm, DeedEnd::Done(None))
    };
    let value = event(deed.clone());
    expect(
        &value,
        "/message",
        json!("Ada Lovelace agrees to a call of crm/delete_contact by planner: confirmed"),
    );
    expect(&value, "/unmapped/obo/tool", json!("delete_contact"));
    expect(&value, "/unmapped/obo/question", json!("q-1"));
    let value = event(Deed { kind: DeedKind::DeclineCall, ..deed });
    expect(&value, "/unmapped/obo/kind", json!("confirmation_decline"));
    expect(&value, "/unmapped/obo/outcome", json!("declined"));
}

#[test]
fn under_pseudonyms_neither_the_person_nor_their_account_is_named() {
    for kind in KINDS {
        let detail = "o-1-ada, or Ada Lovelace, is not let in".to_owned();
        for end in [DeedEnd::Done(Some(token())), DeedEnd::Failed(Failure { detail, ..failure() })] {
            let (line, value) = event_under(deed(kind, end), pseudonymous());
            for named in ["o-1-ada", "Lovelace", "ada@crm.example"] {
                assert!(!line.contains(named), "{named} in {line}");
            }
            expect(&value, "/user/uid", json!(pseudonymous().person("t-1", "o-1-ada")));
        }
    }
}

#[test]
fn the_renewal_of_a_connection_is_an_exchange_of_its_person() {
    let mut renewal = exchange(ExchangeReason::Expired, issued());
    renewal.grant = "refresh_token";
    renewal.whom = Whom::Owner(person("o-1-ada", "Ada Lovelace").into(), Actor::new("planner"));
    renewal.issuer = None;
    for (privacy, uid) in [
        (Privacy::of_this_run(), Some("o-1-ada".to_owned())),
        (pseudonymous(), pseudonymous().person("t-1", "o-1-ada")),
    ] {
        let record = record_of(Authentication::Exchange(renewal.clone()), privacy);
        let (_, value) = written(&Record::Authentication(&record));
        expect(&value, "/user/uid", json!(uid));
        expect(&value, "/activity_id", json!(5));
        expect(&value, "/unmapped/obo/grant", json!("refresh_token"));
        expect(&value, "/unmapped/obo/agent", json!("planner"));
        expect(&value, "/session", json!({"issuer": "https://issuer.example"}));
        expect(&value, "/metadata/tenant_uid", json!("t-1"));
        assert_eq!(value.pointer("/unmapped/obo/subject_token"), None);
    }
}
