use rcgen::PKCS_RSA_SHA256;

use super::files::Files;
use super::*;

/// The shipped files, with the files that they name in a folder of the test.
fn example(name: &str, files: &Files) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
    let text = std::fs::read_to_string(path).expect("a shipped example");
    text.replace("certs/", &files.path("")).replace("/var/log/obo-gateway/", &files.path(""))
}

#[track_caller]
fn check_example(name: &str, files: &Files, variables: &[(&str, &str)], expected: &str) -> Config {
    let environment = |name: &str| {
        let found = variables.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    match read(name, example(name, files).as_bytes(), &surroundings(&environment)).0 {
        Ok(Loaded { config, warnings, .. }) => {
            assert_eq!(warnings, []);
            assert_eq!(summary(&config, false), expected);
            config
        }
        Err(error) => panic!("{}", error.render(false)),
    }
}

#[test]
fn entra_graph() {
    let files = Files::new();
    files.pair("gateway", &PKCS_RSA_SHA256, [2026, 2036]);
    files.pair("client", &PKCS_RSA_SHA256, [2026, 2036]);
    let config = check_example(
        "entra-graph.yaml",
        &files,
        &[],
        "CONNECTOR  TOOL           MATCH                  IDENTITY      ALLOWED BY                     SCOPES\n\
         mail       list_messages  GET /me/messages       on_behalf_of  everyone reads their own mail  https://graph.microsoft.com/Mail.Read\n\
         \x20          read_message   GET /me/messages/{id}  on_behalf_of  everyone reads their own mail  https://graph.microsoft.com/Mail.Read\n\
         \x20          send_message   POST /me/sendMail      on_behalf_of  the assistants group may send  https://graph.microsoft.com/Mail.Send\n\
         \ngood: 1 issuer, 1 connector, 3 tools, 2 rules\n",
    );
    assert!(config.server.tls.is_some());
    // What the example calls the defaults are these.
    assert_eq!(config.server.bounds, crate::server::ConnectionBounds::DEFAULT);
    assert_eq!(config.bounds, crate::gateway::CallBounds::DEFAULT);
}

#[test]
fn confirm() {
    let files = Files::new();
    files.pair("gateway", &PKCS_RSA_SHA256, [2026, 2036]);
    files.pair("client", &PKCS_RSA_SHA256, [2026, 2036]);
    let config = check_example(
        "confirm.yaml",
        &files,
        &[],
        "CONNECTOR  TOOL            MATCH                     IDENTITY                        ALLOWED BY                        SCOPES\n\
         graph      list_messages   GET /me/messages          on_behalf_of, asks some         everyone works on their own mail  https://graph.microsoft.com/Mail.Read\n\
         \x20          send_message    POST /me/sendMail         on_behalf_of, asks first        everyone works on their own mail  https://graph.microsoft.com/Mail.Send\n\
         \x20          delete_message  DELETE /me/messages/{id}  on_behalf_of, asks on the page  everyone works on their own mail  https://graph.microsoft.com/Mail.ReadWrite\n\
         \ngood: 1 issuer, 1 connector, 3 tools, 2 rules\n",
    );
    assert_eq!(config.policy.confirmations().len(), 1);
    assert!(config.public.pages.is_some());
}

#[test]
fn app_only() {
    let files = Files::new();
    for name in ["gateway", "client", "application"] {
        files.pair(name, &PKCS_RSA_SHA256, [2026, 2036]);
    }
    let config = check_example(
        "app_only.yaml",
        &files,
        &[],
        "CONNECTOR  TOOL           MATCH                                               IDENTITY      ALLOWED BY                     SCOPES\n\
         graph      list_messages  GET /me/messages                                    on_behalf_of  everyone reads their own mail  https://graph.microsoft.com/Mail.Read\n\
         \x20          list_rooms     GET /places/microsoft.graph.room                    app_only      everyone finds a room          https://graph.microsoft.com/.default\n\
         \x20          announce       POST /users/announcements@contoso.example/sendMail  app_only      communications may announce    https://graph.microsoft.com/.default\n\
         \ngood: 1 issuer, 1 connector, 3 tools, 3 rules\n",
    );
    let issuer = &config.issuers[0];
    let (exchange, application) = (issuer.exchange.as_ref(), issuer.application.as_ref());
    assert_ne!(exchange.map(|it| &it.client_id), application.map(|it| &it.client_id));
}

#[test]
fn connection() {
    let files = Files::new();
    files.pair("gateway", &PKCS_RSA_SHA256, [2026, 2036]);
    files.write("crm-client-secret", "change-me\n");
    files.write("pages-client-secret", "change-me\n");
    files.write("vault-2026-11.key", "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=\n");
    let config = check_example(
        "connection.yaml",
        &files,
        &[],
        "CONNECTOR  TOOL           MATCH           IDENTITY    ALLOWED BY                           SCOPES\n\
         crm        list_contacts  GET /contacts   connection  everyone uses their own CRM account  contacts.read\n\
         \x20          add_contact    POST /contacts  connection  everyone uses their own CRM account  contacts.write\n\
         \nredirect address of the client for crm: https://gateway.example/account/callback/crm\n\
         good: 1 issuer, 1 connector, 2 tools, 1 rule\n",
    );
    assert_eq!(config.connections.len(), 1);
    assert!(config.links.is_some(), "there are pages");
}

#[test]
fn keycloak() {
    let files = Files::new();
    files.write("keycloak-client-secret", "change-me\n");
    check_example(
        "keycloak.yaml",
        &files,
        &[("KEYCLOAK_URL", "http://127.0.0.1:8081")],
        "CONNECTOR  TOOL           MATCH               IDENTITY      ALLOWED BY  SCOPES\n\
         mail       list_messages  GET /messages       on_behalf_of  allow[0]    mail.read\n\
         \x20          read_message   GET /messages/{id}  on_behalf_of  allow[0]    mail.read\n\
         \ngood: 1 issuer, 1 connector, 2 tools, 1 rule\n",
    );
}

#[cfg(feature = "cedar")]
#[test]
fn cedar() {
    let files = Files::new();
    files.pair("gateway", &PKCS_RSA_SHA256, [2026, 2036]);
    files.pair("client", &PKCS_RSA_SHA256, [2026, 2036]);
    check_example(
        "cedar.yaml",
        &files,
        &[],
        "CONNECTOR  TOOL         MATCH           IDENTITY      ALLOWED BY                                  SCOPES\n\
         notes      list_notes   MCP list_notes  on_behalf_of  staff reads                                 api://notes/Notes.ReadWrite\n\
         \x20          share_note   MCP share_note  on_behalf_of  editors share with colleagues, staff reads  api://notes/Notes.ReadWrite\n\
         \x20          resources/*  MCP *           on_behalf_of  staff reads                                 api://notes/Notes.ReadWrite\n\
         \ngood: 1 issuer, 1 connector, 3 tools, 1 rule, 4 policies\n",
    );
}

#[test]
fn id_jag() {
    let files = Files::new();
    files.pair("client", &PKCS_RSA_SHA256, [2026, 2036]);
    check_example(
        "id-jag.yaml",
        &files,
        &[],
        "CONNECTOR  TOOL           MATCH               IDENTITY      ALLOWED BY  SCOPES\n\
         crm        list_accounts  GET /accounts       on_behalf_of  allow[0]    accounts.read\n\
         \x20          read_account   GET /accounts/{id}  on_behalf_of  allow[0]    accounts.read\n\
         \ngood: 1 issuer, 1 connector, 2 tools, 1 rule\n",
    );
}

#[test]
fn limits() {
    let files = Files::new();
    files.pair("gateway", &PKCS_RSA_SHA256, [2026, 2036]);
    files.pair("client", &PKCS_RSA_SHA256, [2026, 2036]);
    check_example(
        "limits.yaml",
        &files,
        &[],
        "CONNECTOR  TOOL           MATCH          IDENTITY      ALLOWED BY                    SCOPES\n\
         crm        list_contacts  GET /contacts  on_behalf_of  everyone works with contacts  api://crm/Contacts.Read\n\
         \x20          export         GET /export    on_behalf_of  everyone works with contacts  api://crm/Contacts.Read\n\
         \n\
         LIMITED         FOR          CALLS                 AT A TIME\n\
         all connectors  each person  600 in 1m             100\n\
         all connectors  each agent   6000 in 1m            6000\n\
         crm             all callers  100 in 1s             100\n\
         crm             all callers  128 wait, 5s at most  64\n\
         crm/export      each person  5 in 1h               5\n\
         \ngood: 1 issuer, 1 connector, 2 tools, 1 rule\n",
    );
}

#[test]
fn openapi() {
    let files = Files::new();
    files.write("keycloak-client-secret", "change-me\n");
    check_example(
        "openapi.yaml",
        &files,
        &[("KEYCLOAK_URL", "http://127.0.0.1:8081")],
        "CONNECTOR  TOOL          MATCH                         IDENTITY      ALLOWED BY        SCOPES\n\
         library    search_books  GET /books                    on_behalf_of  everyone borrows  library.read\n\
         \x20          list_loans    GET /loans                    on_behalf_of  everyone borrows  library.read\n\
         \x20          borrow_book   POST /loans                   on_behalf_of  everyone borrows  library.borrow\n\
         \x20          return_book   POST /loans/{loan_id}/return  on_behalf_of  everyone borrows  library.borrow\n\
         \ngood: 1 issuer, 1 connector, 4 tools, 1 rule\n",
    );
}

#[test]
fn mcp() {
    let files = Files::new();
    files.write("keycloak-client-secret", "change-me\n");
    check_example(
        "mcp.yaml",
        &files,
        &[("KEYCLOAK_URL", "http://127.0.0.1:8081")],
        "CONNECTOR  TOOL         MATCH            IDENTITY      ALLOWED BY      SCOPES\n\
         notes      list_notes   MCP list_notes   on_behalf_of  everyone reads  notes.read\n\
         \x20          read_note    MCP read_note    on_behalf_of  everyone reads  notes.read\n\
         \x20          delete_note  MCP delete_note  on_behalf_of  editors delete  notes.write\n\
         wiki       *            MCP *            on_behalf_of  everyone reads  wiki.read\n\
         \ngood: 1 issuer, 2 connectors, 4 tools, 2 rules\n",
    );
}

#[test]
fn demo() {
    let files = Files::new();
    for name in ["ca", "gateway", "client"] {
        files.pair(name, &PKCS_RSA_SHA256, [2026, 2036]);
    }
    files.write("vault.key", "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=\n");
    let folder = files.path("");
    let variables = [("OBO_DEMO_CERTS", folder.trim_end_matches('/'))];
    let config = check_example(
        "demo.yaml",
        &files,
        &variables,
        "CONNECTOR  TOOL                  MATCH                     IDENTITY              ALLOWED BY                                                   SCOPES\n\
         mail       list_messages         GET /me/messages          on_behalf_of          anyone may use their own mail                                https://graph.demo.test/Mail.Read\n\
         \x20          read_message          GET /me/messages/{id}     on_behalf_of          anyone may use their own mail                                https://graph.demo.test/Mail.Read\n\
         \x20          send_message          POST /me/sendMail         on_behalf_of          anyone may use their own mail                                https://graph.demo.test/Mail.Send\n\
         notes      list_notes            MCP list_notes            on_behalf_of          anyone may read their own notes, engineers use all of notes  api://notes/Notes.Read\n\
         \x20          read_note             MCP read_note             on_behalf_of          anyone may read their own notes, engineers use all of notes  api://notes/Notes.Read\n\
         \x20          write_note            MCP write_note            on_behalf_of          engineers use all of notes                                   api://notes/Notes.ReadWrite\n\
         \x20          delete_note           MCP delete_note           on_behalf_of          engineers use all of notes                                   api://notes/Notes.ReadWrite\n\
         \x20          publish_announcement  MCP publish_announcement  app_only, asks first  engineers use all of notes                                   api://notes/.default\n\
         webmail    list_messages         GET /me/messages          connection            anyone may use their own mail                                https://graph.demo.test/Mail.Read\n\
         \nredirect address of the client for webmail: https://localhost:8443/account/callback/webmail\n\
         good: 1 issuer, 3 connectors, 9 tools, 3 rules\n",
    );
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8443");
}

#[test]
fn each_example_has_a_test() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let entries = std::fs::read_dir(folder).expect("the examples");
    let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
    names.sort();
    let expected = [
        "app_only.yaml",
        "cedar.yaml",
        "confirm.yaml",
        "connection.yaml",
        "demo.yaml",
        "entra-graph.yaml",
        "id-jag.yaml",
        "keycloak.yaml",
        "library-api.json",
        "limits.yaml",
        "mcp.yaml",
        "openapi.yaml",
        "policies.cedar",
    ];
    assert_eq!(names, expected);
}
