//! What stands around the proxies: people with their tokens, their authorization server, and the upstream.

use std::path::{Path, PathBuf};
use std::process::Command;

use obo_gateway::demo::authorization_server::{
    AuthorizationServer, Consent, Endpoint, MAIL_AUDIENCE, NOTES_AUDIENCE, Settings,
};
use obo_gateway::demo::certificates::DevelopmentCertificates;
use obo_gateway::demo::jws::Algorithm;
use obo_gateway::demo::people::Person;
use serde_json::json;
use tempfile::TempDir;

use crate::Outcome;
use crate::authority::{TOKEN_BYTES, group_id};
use crate::machine::Cores;
use crate::nginx::Upstream;

pub struct World {
    pub cores: Cores,
    pub authorization_server: AuthorizationServer,
    pub upstream: Upstream,
    pub certificates: DevelopmentCertificates,
    folder: TempDir,
}

impl World {
    pub async fn start(people: u32) -> Outcome<Self> {
        let (cores, output) = (Cores::choose(), output_folder());
        cores.keep_off_the_proxys()?;
        std::fs::create_dir_all(&output)?;
        let folder = tempfile::tempdir_in(output)?;
        let certificates = DevelopmentCertificates::ensure(&folder.path().join("certificates"))?;
        let authorization_server = AuthorizationServer::start(tenant(people)).await?;
        let upstream = Upstream::start(folder.path(), cores.load).await?;
        Ok(Self { cores, authorization_server, upstream, certificates, folder })
    }

    /// A folder for what runs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Deletes the files of a scenario, and waits until the disk has the rest: the next one's records are not to wait for these.
    pub fn clean_up(&self, scenario: &str) -> Outcome<()> {
        let folder = self.folder().join(scenario);
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        match Command::new("sync").status()?.success() {
            true => Ok(()),
            false => Err("the disk does not have everything".into()),
        }
    }

    /// How many tokens have been exchanged.
    pub fn exchanges(&self) -> usize {
        self.authorization_server.fetches(Endpoint::Token)
    }

    /// A token for each of the people, signed like this.
    pub fn tokens(&self, signed: Algorithm) -> Vec<String> {
        let people = || self.authorization_server.settings().people.iter().enumerate();
        let token = |number: usize, person: &Person, groups: usize| {
            let groups: Vec<String> = (0..groups).map(|group| group_id(number, group)).collect();
            let token = self.authorization_server.subject_token(&person.oid).claim("groups", json!(groups));
            match signed {
                Algorithm::Es256 => token.es256().mint(),
                Algorithm::Rs256 | Algorithm::Ps256 => token.rs256().mint(),
            }
        };
        // Each group takes 39 bytes of JSON, and base64 makes 52 of them.
        let short = people().next().map_or(0, |(number, person)| token(number, person, 0).len());
        let groups = TOKEN_BYTES.saturating_sub(short).div_ceil(52);
        people().map(|(number, person)| token(number, person, groups)).collect()
    }

    /// Writes a token a line, and gives the file.
    pub fn write_tokens(&self, tokens: &[String]) -> Outcome<PathBuf> {
        let path = self.folder().join("tokens");
        std::fs::write(&path, tokens.join("\n") + "\n")?;
        Ok(path)
    }
}

/// Where reports go, and what runs has its files.
pub fn output_folder() -> PathBuf {
    // Cargo gives benchmarks the folder `tmp` in the target folder.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    target.expect("the folder that Cargo gives is in the target folder").join("load")
}

/// A tenant of so many people who have all consented.
fn tenant(people: u32) -> Settings {
    let people: Vec<Person> = (0..people)
        .map(|number| {
            let oid = format!("00000000-0000-4000-8000-{number:012x}");
            Person::new(&oid, &format!("P{number} Load"), &format!("p{number}@load.demo.test"))
        })
        .collect();
    let client_id = Settings::default().gateway.client_id;
    let consents = people.iter().flat_map(|person| {
        [(MAIL_AUDIENCE, "Mail.Read"), (NOTES_AUDIENCE, "Notes.ReadWrite")]
            .map(|(audience, scope)| Consent::new(&person.oid, &client_id, audience, scope))
    });
    Settings { consents: consents.collect(), people, ..Settings::default() }
}
