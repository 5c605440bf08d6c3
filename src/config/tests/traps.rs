use super::*;

const GUID: &str = "9d2a6f8e-1c34-4e0b-8f57-6a0b9c3de200";

#[test]
fn tokens_for_another_service_are_not_for_the_gateway() {
    for other in ["https://graph.microsoft.com/", "00000003-0000-0000-c000-000000000000"] {
        check(
            &[("[api://obo-gateway]", &format!("[api://obo-gateway, \"{other}\"]"))],
            &[&format!(
                "6: issuers.contoso.audiences[1]: is another service, whose tokens were not issued for this gateway: \
                 name the gateway itself (found \"{other}\")"
            )],
        );
    }
}

#[test]
fn entras_tokens_of_version_2_name_the_client_id() {
    let client_id = ("client_id: gateway", &*format!("client_id: {GUID}"));
    check_warnings(
        &[client_id],
        &[&format!(
            "6: warning: issuers.contoso.audiences: names no client ID: Entra's tokens of version 2 have {GUID} as \
             their `aud` and are refused; add it"
        )],
    );
    check_warnings(&[client_id, ("[api://obo-gateway]", &format!("[api://obo-gateway, {GUID}]"))], &[]);
}

#[test]
fn a_connector_is_not_the_gateway_itself() {
    for (key, found) in [("audience", "api://obo-gateway/"), ("resource", "api://obo-gateway")] {
        check(
            &[("    path: /mail", &format!("    path: /mail\n    {key}: {found}"))],
            &[&format!(
                "15: connectors.mail.{key}: is the gateway itself at `contoso`, so whoever gets such a token could come \
                 back with it: name the connector (found \"{found}\")"
            )],
        );
    }
}

#[test]
fn whoever_asks_for_no_scopes_gets_whatever_there_is() {
    let no_scopes = ("match: POST /me/sendMail, scopes: [Mail.Send]", "match: POST /me/sendMail");
    check_warnings(
        &[("    path: /mail", "    path: /mail\n    audience: api://mail"), no_scopes],
        &[
            "12: warning: connectors.mail.scopes: are not named, so tokens are asked for with all that was ever consented \
             to (`/.default`): name them",
        ],
    );
    let keycloak = [
        (
            "kind: entra\n    tenant: 5b1c6c1e-0f5b-4a54-8c3e-1f2a3b4c5d6e",
            "kind: oidc\n    issuer: https://kc.example",
        ),
        ("grant: on_behalf_of", "grant: token_exchange"),
        ("    path: /mail", "    path: /mail\n    audience: mail-connector"),
    ];
    check_warnings(&keycloak, &[]);
    let [issuer, grant, audience] = keycloak;
    check_warnings(
        &[issuer, grant, audience, no_scopes],
        &[
            "12: warning: connectors.mail.scopes: are not named, so tokens may do whatever the server gives by default, \
             and nothing of it is checked: name them",
        ],
    );
    check_warnings(
        &[
            issuer,
            audience,
            ("grant: on_behalf_of", "grant: token_exchange\n      subject_token_type: id_token"),
        ],
        &[
            "9: warning: issuers.contoso.exchange.subject_token_type: calls the person's token an ID token: the gateway \
             takes access tokens alone, so leave it out unless this server wants it so",
        ],
    );
}

#[test]
fn people_are_not_named_by_what_changes_hands() {
    let rule =
        "- subjects: { ids: [00000000-0000-0000-0000-000000000001, ada@contoso.example] }\n      tools:";
    check_warnings(
        &[("- tools:", rule)],
        &[
            "21: warning: policy.allow[0].subjects.ids[1]: looks like an e-mail address, which can be given to somebody \
             else and is no identifier of a person: name the `oid` or `sub`",
        ],
    );
    let claims = "kind: oidc\n    issuer: https://kc.example\n    claims: { subject: email }";
    check(
        &[("kind: entra\n    tenant: 5b1c6c1e-0f5b-4a54-8c3e-1f2a3b4c5d6e", claims)],
        &[
            "6: issuers.contoso.claims.subject: can change, or be given to somebody else, who would then be taken for the \
             person: name a stable identifier, such as `sub` (found \"email\")",
        ],
    );
}

#[test]
fn any_tenant_is_no_tenant() {
    for any in ["common", "organizations", "consumers"] {
        check(
            &[("5b1c6c1e-0f5b-4a54-8c3e-1f2a3b4c5d6e", any)],
            &[&format!(
                "5: issuers.contoso.tenant: lets in people of any tenant: list the tenants under `tenants`, each by \
                 its GUID (found \"{any}\")"
            )],
        );
    }
}

#[test]
fn a_secret_is_not_written_into_the_file() {
    let extra = |value: &str| format!("client_id: gateway\n      extra: {{ api_key: {value} }}");
    check_warnings(
        &[("client_id: gateway", &extra("plain"))],
        &[
            "10: warning: issuers.contoso.exchange.extra.api_key: looks like a secret written into this file: take it from \
             the environment, as `${NAME}`",
        ],
    );
    check_warnings(&[("client_id: gateway", &extra("\"${CLIENT_SECRET}\""))], &[]);
}
