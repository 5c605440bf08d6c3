use super::*;

#[test]
fn a_connector_is_named_once_above_its_tools() {
    let config = config(&[(
        "policy:",
        "  notes:\n    kind: rest\n    path: /notes\n    upstream: https://notes.example\n    audience: \
         api://notes\npolicy:",
    )]);
    assert_eq!(
        summary(&config, false),
        "CONNECTOR  TOOL  MATCH              IDENTITY      ALLOWED BY  SCOPES\n\
         mail       list  GET /me/messages   on_behalf_of  allow[0]    https://graph.microsoft.com/Mail.Read\n\
         \x20          send  POST /me/sendMail  on_behalf_of  allow[0]    https://graph.microsoft.com/Mail.Send\n\
         notes      any   * /notes/…         on_behalf_of  nobody      api://notes/.default\n\
         \ngood: 1 issuer, 2 connectors, 3 tools, 1 rule\n"
    );
    assert!(summary(&config, true).starts_with("\x1b[1mCONNECTOR  TOOL"));
}
