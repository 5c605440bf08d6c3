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
        "CONNECTOR  TOOL  MATCH              IDENTITY      SCOPES\n\
         mail       list  GET /me/messages   on_behalf_of  https://graph.microsoft.com/Mail.Read\n\
         \x20          send  POST /me/sendMail  on_behalf_of  https://graph.microsoft.com/Mail.Send\n\
         notes      any   * /notes/…         on_behalf_of  api://notes/.default\n"
    );
    assert!(summary(&config, true).starts_with("\x1b[1mCONNECTOR  TOOL"));
}
