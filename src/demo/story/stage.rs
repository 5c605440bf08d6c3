//! The parts of the demo, started together: the authorization server, the mail and notes connectors, and between them the
//! gateway as it is, from a configuration file.

use std::fs::OpenOptions;
use std::io;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::StoryError;
use super::directory::RunDirectory;
use crate::demo::authorization_server::{AuthorizationServer, Settings};
use crate::demo::certificates::DevelopmentCertificates;
use crate::demo::mail::{MailConnector, MailSettings};
use crate::demo::notes::{NotesConnector, NotesSettings};
use crate::demo::people::Person;
use crate::demo::random;
use crate::process::Process;

/// What the gateway is started from.
const CONFIGURATION: &str = include_str!("../../../config/demo.yaml");
/// Loopback, on a port that the system chooses, so that nothing is in the way.
const ANY_PORT: &str = "127.0.0.1:0";
/// The tenant of the other company.
const FABRIKAM: &str = "5b7c3f10-8d2e-4c6a-a1f4-90e2d6b7c300";
/// Longest wait for an answer. Everything is on this machine.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// What can be told about where the demo runs.
pub struct Setting {
    /// Where development certificates are kept, if that can be written to.
    pub certificates: PathBuf,
    /// Where agents call.
    pub listen: String,
    /// Where the admin endpoints are.
    pub admin: String,
}

impl Setting {
    /// `certs/` here, and the addresses that `OBO_DEMO_LISTEN` and `OBO_DEMO_ADMIN` name.
    pub fn from_environment() -> Self {
        let address = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        Self {
            listen: address("OBO_DEMO_LISTEN").unwrap_or_else(|| ANY_PORT.to_owned()),
            admin: address("OBO_DEMO_ADMIN").unwrap_or_else(|| ANY_PORT.to_owned()),
            ..Self::with_certificates("certs")
        }
    }

    /// Certificates in this directory, and ports that the system chooses.
    pub fn with_certificates(certificates: impl Into<PathBuf>) -> Self {
        Self { certificates: certificates.into(), listen: ANY_PORT.to_owned(), admin: ANY_PORT.to_owned() }
    }

    /// Nobody here is asked for a password, so nobody else may reach it. What is no address at all, the
    /// configuration's own check says better.
    fn check_loopback(&self) -> Result<(), StoryError> {
        for (name, text) in [("OBO_DEMO_LISTEN", &self.listen), ("OBO_DEMO_ADMIN", &self.admin)] {
            if text.parse::<SocketAddr>().is_ok_and(|address| !address.ip().is_loopback()) {
                return Err(StoryError::NotLoopback { name, address: text.clone() });
            }
        }
        Ok(())
    }
}

/// Everything that runs. What it holds ends in this order; the directory last, when nobody writes to it any more.
pub struct Stage {
    /// Who signs people in.
    pub authorization_server: AuthorizationServer,
    /// Who has their mail.
    pub mail: MailConnector,
    /// Who has their notes.
    pub notes: NotesConnector,
    /// Who signs people in at another company, where they have accounts of their own.
    pub webmail_server: AuthorizationServer,
    /// Who has their mail there.
    pub webmail: MailConnector,
    /// Who stands between.
    pub process: Process,
    /// Whom to trust, and where that is written down.
    pub certificates: DevelopmentCertificates,
    /// The audit file.
    pub audit_path: PathBuf,
    /// The gateway's configuration.
    pub configuration: PathBuf,
    /// Where this run keeps its files.
    pub directory: RunDirectory,
}

impl Stage {
    /// Starts everything.
    ///
    /// # Errors
    ///
    /// [`StoryError`] says what cannot be started.
    pub async fn set(setting: Setting) -> Result<Self, StoryError> {
        setting.check_loopback()?;
        let directory = RunDirectory::create().map_err(StoryError::stage("make a directory for this run"))?;
        let listen = with_port(&setting.listen).map_err(StoryError::stage("find a port for the gateway"))?;
        let admin = with_port(&setting.admin).map_err(StoryError::stage("find a port for operators"))?;
        let url = origin_of(&listen);
        let certificates = certificates(setting.certificates.clone(), directory.path().join("certs"))
            .await
            .map_err(StoryError::stage("make development certificates"))?;

        let mut settings =
            Settings { people: vec![Person::ada(), without_mailbox(Person::bob())], ..Settings::default() };
        settings.gateway.certificates.push(certificates.client.certificate.to_vec());
        settings.gateway.redirect_uris.push(format!("{url}/account/signed-in"));
        let mut fabrikam = Settings {
            tenant: FABRIKAM.to_owned(),
            people: vec![Person::ada_at_fabrikam(), Person::bob_at_fabrikam()],
            ..Settings::default()
        };
        fabrikam.gateway.certificates.push(certificates.client.certificate.to_vec());
        fabrikam.gateway.redirect_uris.push(format!("{url}/account/callback/webmail"));
        let (tenant, client_id) = (settings.tenant.clone(), settings.gateway.client_id.clone());
        let authorization_server = AuthorizationServer::start(settings)
            .await
            .map_err(StoryError::stage("start the development authorization server"))?;

        let tls =
            certificates.server_config().map_err(StoryError::stage("use the development certificates"))?;
        let mail =
            MailSettings { tls: Some(Arc::clone(&tls)), ..MailSettings::trusting(&authorization_server) };
        let mail = MailConnector::start(mail).await.map_err(StoryError::stage("start the mail connector"))?;

        let webmail_server = AuthorizationServer::start(fabrikam)
            .await
            .map_err(StoryError::stage("start the other company's authorization server"))?;
        let webmail = MailSettings { tls: Some(Arc::clone(&tls)), ..MailSettings::trusting(&webmail_server) };
        let webmail = MailConnector::start(webmail)
            .await
            .map_err(StoryError::stage("start the other company's mail"))?;

        let notes = NotesSettings { tls: Some(tls), ..NotesSettings::trusting(&authorization_server) };
        let notes =
            NotesConnector::start(notes).await.map_err(StoryError::stage("start the notes connector"))?;

        let audit_path = directory.path().join("audit.jsonl");
        let certificates_directory = certificates.authority_path.parent().unwrap_or(Path::new("."));
        ensure_vault_key(&certificates_directory.join("vault.key"))
            .map_err(StoryError::stage("make a key for the vault"))?;
        // Written out, so that the commands for operators can be tried on it.
        let settings = [
            ("OBO_DEMO_LISTEN", listen),
            ("OBO_DEMO_URL", url),
            ("OBO_DEMO_ADMIN", admin),
            ("OBO_DEMO_CERTS", certificates_directory.display().to_string()),
            ("OBO_DEMO_TENANT", tenant),
            ("OBO_DEMO_ISSUER", authorization_server.issuer()),
            ("OBO_DEMO_CLIENT_ID", client_id),
            ("OBO_DEMO_MAIL", mail.base_url()),
            ("OBO_DEMO_NOTES", notes.endpoint()),
            ("OBO_DEMO_WEBMAIL", webmail.base_url()),
            ("OBO_DEMO_WEBMAIL_ISSUER", webmail_server.issuer()),
            ("OBO_DEMO_VAULT", directory.path().join("vault.db").display().to_string()),
            ("OBO_DEMO_AUDIT", audit_path.display().to_string()),
        ];
        let configuration = directory
            .write("demo.yaml", &written_out(CONFIGURATION, &settings))
            .map_err(StoryError::stage("write the gateway's configuration"))?;
        let (process, _) = Process::start(&configuration, Arc::new(|_: &str| None)).await?;
        Ok(Self {
            authorization_server,
            mail,
            notes,
            webmail_server,
            webmail,
            process,
            certificates,
            audit_path,
            configuration,
            directory,
        })
    }

    /// What agents call.
    pub fn origin(&self) -> String {
        origin_of(&self.process.agent_address().to_string())
    }

    /// Where the admin endpoints are.
    pub fn admin_origin(&self) -> String {
        format!("http://{}", self.process.admin_address())
    }

    /// A client as an agent would have one: it trusts the development authority, and follows nothing.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn client(&self) -> Result<reqwest::Client, StoryError> {
        let roots =
            self.certificates.roots().map_err(StoryError::stage("trust the development certificates"))?;
        let mut tls = rustls::ClientConfig::builder_with_provider(crate::tls::provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| StoryError::stage("set up TLS")(io::Error::other(error)))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent("demo-agent/1.0")
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(ANSWER_TIMEOUT)
            // Whatever this machine thinks `localhost` is.
            .resolve("localhost", self.process.agent_address());
        Ok(client.build()?)
    }

    /// Who can sign in.
    pub fn people(&self) -> &[Person] {
        &self.authorization_server.settings().people
    }

    /// What a person is called: here by the name, at the other company by the account's. Who is of neither is called by the
    /// identifier.
    pub fn name_of<'a>(&'a self, oid: &'a str) -> &'a str {
        let here = self.people().iter().map(|person| (&person.oid, &person.name));
        let there =
            self.webmail_server.settings().people.iter().map(|person| (&person.oid, &person.user_name));
        here.chain(there).find(|(own, _)| *own == oid).map_or(oid, |(_, name)| name)
    }

    /// The tokens that were issued for connectors so far, to people and to the application.
    pub fn issued(&self) -> Vec<String> {
        let (here, there) = (&self.authorization_server, &self.webmail_server);
        [here.issued(), here.issued_to_application(), there.issued()].concat()
    }

    /// Ends everything: what runs is finished, the records are written, the files removed.
    pub async fn strike(self) {
        self.process.drain().await;
        self.mail.stop_listening().await;
        self.notes.stop_listening().await;
        self.webmail.stop_listening().await;
        self.webmail_server.stop_listening().await;
        self.authorization_server.stop_listening().await;
    }
}

/// Those in the preferred place; or, where nothing can be written or something else is, others for this run alone.
async fn certificates(preferred: PathBuf, otherwise: PathBuf) -> io::Result<DevelopmentCertificates> {
    let ensure = move || {
        let preferred = std::path::absolute(preferred)?;
        DevelopmentCertificates::ensure(&preferred).or_else(|_| DevelopmentCertificates::ensure(&otherwise))
    };
    tokio::task::spawn_blocking(ensure).await.map_err(io::Error::other)?
}

/// The address, with a port of its own in place of 0: browsers are sent back to it, so it is known before anybody listens there.
fn with_port(listen: &str) -> io::Result<String> {
    match listen.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => Ok(TcpListener::bind(address)?.local_addr()?.to_string()),
        Ok(_) | Err(_) => Ok(listen.to_owned()),
    }
}

/// How agents and browsers reach who listens there.
fn origin_of(listen: &str) -> String {
    format!("https://localhost:{}", listen.rsplit(':').next().unwrap_or_default())
}

/// Makes the vault's key where there is none.
fn ensure_vault_key(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        // 256 bits, as text.
        Ok(mut file) => writeln!(file, "{}", random::token()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn without_mailbox(person: Person) -> Person {
    Person { mailbox: false, ..person }
}

/// A configuration with these values in place of the variables that name them.
fn written_out(configuration: &str, values: &[(&str, String)]) -> String {
    let mut text = configuration.to_owned();
    for (name, value) in values {
        let opening = format!("${{{name}:-");
        while let Some(begin) = text.find(&opening) {
            let end = text[begin..].find('}').map_or(text.len(), |length| begin + length + 1);
            text.replace_range(begin..end, value);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_may_reach_it() {
        let setting =
            |listen: &str| Setting { listen: listen.to_owned(), ..Setting::with_certificates("certs") };
        assert!(setting("[::1]:8443").check_loopback().is_ok());
        let error = setting("0.0.0.0:8443").check_loopback().expect_err("any machine could call");
        assert!(error.to_string().contains("OBO_DEMO_LISTEN"), "{error}");
    }

    #[tokio::test]
    async fn certificates_are_made_elsewhere_where_they_cannot_be_kept() {
        let directory = RunDirectory::create().expect("a directory");
        let file = directory.write("certs", "somebody's file").expect("a file");
        let otherwise = directory.path().join("otherwise");
        let made = certificates(file, otherwise.clone()).await.expect("certificates");
        assert_eq!(made.authority_path, otherwise.join("ca.pem"));
    }
}
