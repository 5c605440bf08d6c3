use super::*;

#[test]
fn unknown_keys_are_refused_with_the_nearest_known_one() {
    check(
        &[("upstream:", "upstraem:")],
        &["15: connectors.mail.upstraem: is not a key here; did you mean `upstream`?"],
    );
    check(
        &[("audit:", "colour: red\naudit:")],
        &[
            "22: colour: is not a key here; the keys are `listen`, `tls`, `plain_http`, `public_url`, `require_dpop_nonce`, `allowed_origins`, `admin`, `admin_token_file`, `reload`, `timeouts`, `bounds`, \
             `memory`, `limits`, `issuers`, `connectors`, `policy`, `vault`, `pages`, `audit`",
        ],
    );
}

#[test]
fn a_secret_in_the_file_is_refused_and_not_shown() {
    check(
        &[("{ secret_env: CLIENT_SECRET }", "{ client_secret: canary-7f3a, method: posted }")],
        &[
            "10: issuers.contoso.exchange.client_auth.client_secret: is not a key here. Secrets are not \
             written in \
             this file: name a file with `secret_file`, or an environment variable with `secret_env`",
            "10: issuers.contoso.exchange.client_auth.method: must be one of `post`, `basic` (found \
             \"posted\")",
        ],
    );
    check(
        &[("{ secret_env: CLIENT_SECRET }", "canary-7f3a")],
        &[
            "10: issuers.contoso.exchange.client_auth: must be a mapping of keys and values, like `{ secret_file: …, secret_env: …, … }` (found text)",
        ],
    );
    let text = edited(&[("{ secret_env: CLIENT_SECRET }", "{ password: canary-7f3a, method: posted }")]);
    let error = read_text(&text).expect_err("a secret").render(false);
    assert!(error.contains("client_auth: { password: ……………………………, method: posted }"), "{error}");
}

#[test]
fn values_of_the_wrong_kind_are_refused() {
    check(
        &[("[api://obo-gateway]", "api://obo-gateway")],
        &["6: issuers.contoso.audiences: must be a list, like `[one, two]` (found text)"],
    );
    check(&[("127.0.0.1:8080", "[127.0.0.1]")], &["1: listen: must be text (found a list)"]);
    check(
        &[("[\"mail/*\"]", "[{ a: b }]")],
        &["21: policy.allow[0].tools[0]: must be text (found a mapping)"],
    );
    check(
        &[("listen:", "plain_http: yes\nlisten:")],
        &["1: plain_http: must be true or false, without quotes (found \"yes\")"],
    );
    check(
        &[("listen:", "plain_http: \"true\"\nlisten:")],
        &["1: plain_http: must be true or false, without quotes (found \"true\")"],
    );
}

#[test]
fn a_key_without_a_value_is_not_a_key_left_out() {
    for nothing in ["", "~", "null"] {
        check(
            &[("audiences:", &format!("agents: {nothing}\n    audiences:"))],
            &["6: issuers.contoso.agents: has no value: give it one, or leave the key out"],
        );
    }
}

#[test]
fn text_is_what_is_written_whatever_it_looks_like() {
    let config =
        config(&[("client_id: gateway", "client_id: 0123"), ("[api://obo-gateway]", "[1e3, yes, 0x10]")]);
    let exchange = config.issuers[0].exchange.as_ref().expect("an exchange");
    assert_eq!(&*exchange.client_id, "0123");
    let audiences: Vec<&str> = config.issuers[0].audiences.iter().map(|audience| audience.as_str()).collect();
    assert_eq!(audiences, ["1e3", "yes", "0x10"]);
}

#[test]
fn a_place_keeps_its_number_when_one_before_it_is_faulty() {
    check(
        &[("[\"mail/*\"]", "[{}, \"mail/*\", \"mail/read\"]")],
        &[
            "21: policy.allow[0].tools[0]: must be text (found a mapping)",
            "21: policy.allow[0].tools[2]: covers no tool; did you mean `mail/send`? (found \"mail/read\")",
        ],
    );
}
