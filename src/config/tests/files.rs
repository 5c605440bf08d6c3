use std::fs;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm};
use tempfile::TempDir;

use super::*;
use crate::oauth::ClientAuth;

/// A folder of certificates and keys, made anew.
pub struct Files {
    folder: TempDir,
}

impl Files {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, contents).expect("a file in the temporary folder");
        self.mode(name, 0o600);
        path
    }

    #[cfg(unix)]
    fn mode(&self, name: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).expect("its owner is us");
    }

    /// A certificate that is valid from one date to another, and its key.
    pub fn pair(&self, name: &str, algorithm: &'static SignatureAlgorithm, years: [i32; 2]) -> [String; 2] {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let mut params = CertificateParams::new(vec!["gateway.example".to_owned()]).expect("parameters");
        params.not_before = rcgen::date_time_ymd(years[0], 1, 1);
        params.not_after = rcgen::date_time_ymd(years[1], 1, 1);
        let certificate = params.self_signed(&key).expect("a certificate");
        [
            self.write(&format!("{name}.pem"), certificate.pem()),
            self.write(&format!("{name}.key"), key.serialize_pem()),
        ]
    }
}

const YEARS: [i32; 2] = [2026, 2036];
const LISTEN: &str = "127.0.0.1:8080";
const SECRET: &str = "{ secret_env: CLIENT_SECRET }";

fn tls(certificate: &str, key: &str) -> String {
    format!("0.0.0.0:8443\ntls:\n  certificate: {certificate}\n  key: {key}")
}

fn client(certificate: &str, key: &str) -> String {
    format!("{{ certificate: {certificate}, key: {key} }}")
}

#[test]
fn agents_are_shown_the_certificate() {
    let files = Files::new();
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_RSA_SHA256] {
        let [certificate, key] = files.pair("gateway", algorithm, YEARS);
        let config = config(&[(LISTEN, &tls(&certificate, &key))]);
        let shown = config.server.tls.expect("TLS");
        assert_eq!(shown.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
        let secret = fs::read_to_string(&key).expect("the key");
        let debug = format!("{shown:?}");
        assert!(secret.lines().all(|line| !debug.contains(line)), "{debug}");
    }
}

#[test]
fn what_is_wrong_with_a_certificate_is_named_with_its_file() {
    let files = Files::new();
    let [certificate, key] = files.pair("gateway", &PKCS_ECDSA_P256_SHA256, YEARS);
    let [_, other_key] = files.pair("other", &PKCS_ECDSA_P256_SHA256, YEARS);
    let (empty, text, gone) = (files.write("empty", ""), files.write("text", "hello"), files.path("gone"));
    let broken = files.write("broken", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let folder = files.path("");
    let check_tls = |certificate: &str, key: &str, expected: &[&str]| {
        let expected: Vec<String> = expected
            .iter()
            .map(|fault| fault.replace("{certificate}", certificate).replace("{key}", key))
            .collect();
        check(&[(LISTEN, &tls(certificate, key))], &expected.iter().map(String::as_str).collect::<Vec<_>>());
    };
    check_tls(&certificate, &other_key, &["4: tls.key: is not the key of the certificate (found \"{key}\")"]);
    let no_key = "4: tls.key: names a file without an unencrypted private key in PEM form (found \"{key}\")";
    let no_certificate = "3: tls.certificate: names a file without a PEM certificate (`-----BEGIN \
                          CERTIFICATE-----` …) (found \"{certificate}\")";
    check_tls(&key, &certificate, &[no_certificate, no_key]);
    check_tls(&text, &key, &[no_certificate]);
    check_tls(&certificate, &text, &[no_key]);
    check_tls(
        &broken,
        &key,
        &["3: tls.certificate: names a file with a certificate that cannot be read (found \
             \"{certificate}\")"],
    );
    check_tls(&empty, &key, &["3: tls.certificate: names an empty file (found \"{certificate}\")"]);
    check_tls(&folder, &key, &["3: tls.certificate: does not name a regular file (found \"{certificate}\")"]);
    let not_there = "names a file that is not there; relative names start at the working directory";
    check_tls(
        &gone,
        &gone,
        &[
            &format!("3: tls.certificate: {not_there} (found \"{{certificate}}\")"),
            &format!("4: tls.key: {not_there} (found \"{{key}}\")"),
        ],
    );
    check(
        &[(LISTEN, &format!("0.0.0.0:1\ntls: {{ key: {key} }}"))],
        &["2: tls.certificate: is required: name the PEM file with the certificate"],
    );
}

#[test]
fn dates_and_open_files_are_worth_a_warning() {
    let files = Files::new();
    let [certificate, key] = files.pair("old", &PKCS_ECDSA_P256_SHA256, [2020, 2025]);
    check_warnings(
        &[(LISTEN, &tls(&certificate, &key))],
        &[&format!("3: warning: tls.certificate: has expired: renew it (found {certificate:?})")],
    );
    let [certificate, key] = files.pair("young", &PKCS_RSA_SHA256, [2049, 2051]);
    files.mode("young.key", 0o604);
    check_warnings(
        &[(SECRET, &client(&certificate, &key))],
        &[
            &format!(
                "10: warning: issuers.contoso.exchange.client_auth.certificate: is not valid yet (found \
                 {certificate:?})"
            ),
            &format!(
                "10: warning: issuers.contoso.exchange.client_auth.key: can be read by every user of this \
                 machine: `chmod o-r` it (found {key:?})"
            ),
        ],
    );
}

#[test]
fn a_client_certificate_signs_assertions() {
    let files = Files::new();
    let [certificate, key] = files.pair("client", &PKCS_RSA_SHA256, YEARS);
    let exchange =
        config(&[(SECRET, &client(&certificate, &key))]).issuers.remove(0).exchange.expect("an exchange");
    assert!(matches!(exchange.client_auth, ClientAuth::PrivateKeyJwt { .. }));
    let [_, other_key] = files.pair("other", &PKCS_RSA_SHA256, YEARS);
    let [ec_certificate, ec_key] = files.pair("ec", &PKCS_ECDSA_P256_SHA256, YEARS);
    let at = "10: issuers.contoso.exchange.client_auth.key";
    check(
        &[(SECRET, &client(&certificate, &other_key))],
        &[&format!("{at}: the private key does not belong to the certificate (found {other_key:?})")],
    );
    config(&[(SECRET, &client(&ec_certificate, &ec_key))]);
    let ps256 = client(&ec_certificate, &ec_key).replace("{ ", "{ algorithm: ps256, ");
    check(&[(SECRET, &ps256)], &[&format!("{at}: holds a key that cannot sign PS256 (found {ec_key:?})")]);
    let tls = |key: &str| format!("{{ tls_certificate: {ec_certificate}, tls_key: {key} }}");
    let exchange = config(&[(SECRET, &tls(&ec_key))]).issuers.remove(0).exchange.expect("an exchange");
    assert!(matches!(exchange.client_auth, ClientAuth::Tls(_)));
    check(
        &[(SECRET, &tls(&key))],
        &[&format!(
            "{at2}: is not the key of the certificate (found {key:?})",
            at2 = at.replace("key", "tls_key")
        )],
    );
    check(
        &[(SECRET, &client(&certificate, &certificate))],
        &[&format!("{at}: holds no PEM private key (found {certificate:?})")],
    );
}

#[test]
fn a_secret_is_read_from_its_file() {
    let files = Files::new();
    let path = files.write("secret", "s3cret \r\n");
    let exchange = config(&[(SECRET, &format!("{{ secret_file: {path} }}"))])
        .issuers
        .remove(0)
        .exchange
        .expect("an exchange");
    assert!(matches!(&exchange.client_auth, ClientAuth::SecretPost(secret) if secret.expose() == "s3cret "));
    files.mode("secret", 0o644);
    let at = "issuers.contoso.exchange.client_auth.secret_file";
    check_warnings(
        &[(SECRET, &format!("{{ secret_file: {path} }}"))],
        &[&format!(
            "10: warning: {at}: can be read by every user of this machine: `chmod o-r` it (found {path:?})"
        )],
    );
    for (contents, message) in [
        (&b""[..], "names an empty file"),
        (b"\n", "names an empty secret"),
        (b"canary-7f3a\nb\n", "names a secret with a line break or another control character within"),
        (b"canary-7f3a\xff", "names a file that is not text"),
        (&[b'x'; 4_097], "names a file of more than 4096 bytes"),
    ] {
        let path = files.write("bad", contents);
        check(
            &[(SECRET, &format!("{{ secret_file: {path} }}"))],
            &[&format!("10: {at}: {message} (found {path:?})")],
        );
    }
}

#[test]
fn authorities_are_read_from_their_bundle() {
    let files = Files::new();
    let [one, key] = files.pair("one", &PKCS_ECDSA_P256_SHA256, YEARS);
    let [two, _] = files.pair("two", &PKCS_ECDSA_P256_SHA256, YEARS);
    let bundle = [&one, &two].map(|path| fs::read_to_string(path).expect("a certificate")).concat();
    let bundle = files.write("bundle", bundle);
    let ca_file = |path: &str| format!("kind: rest\n    ca_file: {path}");
    assert_eq!(config(&[("kind: rest", &ca_file(&bundle))]).connectors[0].extra_roots.len(), 2);
    let issuer = format!("kind: entra\n    ca_file: {one}");
    assert_eq!(config(&[("kind: entra", &issuer)]).issuers[0].extra_roots.len(), 1);
    check(
        &[("kind: rest", &ca_file(&key))],
        &[&format!(
            "14: connectors.mail.ca_file: names a file without a PEM certificate (`-----BEGIN \
             CERTIFICATE-----` …) (found {key:?})"
        )],
    );
}
