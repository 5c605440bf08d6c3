//! Signing in and out: to the issuer, and back to where the person was going.
//!
//! Where that is, no request says: either it is the page of an agent's link, by its identifier alone, or the person's connections.

use std::sync::Arc;

use http::StatusCode;

use super::cookies::Cookie;
use super::fields::Fields;
use super::flow::{FLOW_LIFETIME, Flow};
use super::happening::Happening;
use super::link::{Link, LinkPage};
use super::problem::Problem;
use super::reply::Reply;
use super::sessions::Forgotten;
use super::text;
use super::view::{DonePage, SignInPage, Way};
use super::{Pages, Visit, rendered};
use crate::audit::DeedKind;
use crate::digest::sha256;
use crate::identity::{Issuer, SecretToken};
use crate::oauth::authorization_server::AuthorizationServer;
use crate::oauth::sign_in::Attempt;

/// Bytes of the digest by which links name an issuer.
const ISSUER_KEY_BYTES: usize = 8;

impl Visit<'_> {
    /// Asks somebody to sign in, at `issuer` or wherever people can. `link` is the one that they came by. `anew`: also where
    /// they are signed in there already.
    pub(super) fn ask_to_sign_in(&self, link: Option<&Link>, issuer: Option<&Issuer>, anew: bool) -> Reply {
        let settings = &self.pages.settings;
        let mut servers: Vec<&Arc<AuthorizationServer>> = (self.pages.servers.iter())
            // A server with two names stands here under both.
            .filter(|(name, server)| **name == server.settings().issuer && server.offers_sign_in())
            .filter(|(name, _)| issuer.is_none_or(|issuer| issuer == *name))
            .map(|(_, server)| server)
            .collect();
        servers.sort_by(|one, other| {
            let key = |server: &AuthorizationServer| {
                (server.settings().name.clone(), server.settings().issuer.clone())
            };
            key(one).cmp(&key(other))
        });
        let way = |server: &&Arc<AuthorizationServer>| {
            let own = server.settings();
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair("issuer", &issuer_key(&own.issuer));
            query.extend_pairs(link.map(|link| (link.page().parameter(), link.id())));
            query.extend_pairs(anew.then_some(("anew", "1")));
            let place = own.issuer.as_str().trim_start_matches("https://").trim_start_matches("http://");
            Way {
                href: format!("{}/sign-in?{}", settings.base(), query.finish()),
                name: text::shown(own.name.as_str(), text::NAME_CHARS_MAX),
                place: text::shown(place, text::NAME_CHARS_MAX),
            }
        };
        let page = SignInPage {
            frame: self.frame(),
            title: "Sign in",
            is_asked: link.is_some(),
            ways: servers.iter().map(way).collect(),
        };
        Reply::page(StatusCode::OK, rendered(&page))
    }

    /// `GET …/sign-in`: to the issuer, with what it takes to come back.
    pub(super) fn begin_sign_in(&self) -> Result<Reply, Problem> {
        let (settings, query) = (&self.pages.settings, self.query()?);
        let mut links =
            LinkPage::ALL.into_iter().filter_map(|page| Some((page, query.get(page.parameter())?)));
        let link = match (links.next(), links.next()) {
            (None, _) => None,
            (Some((page, id)), None) => Some(Link::new(page, id).ok_or(Problem::Malformed)?),
            (Some(_), Some(_)) => return Err(Problem::Malformed),
        };
        let anew = query.get("anew") == Some("1");
        let Some(key) = query.get("issuer") else {
            return Ok(self.ask_to_sign_in(link.as_ref(), None, anew));
        };
        let found = self.pages.servers.iter().find(|(issuer, _)| issuer_key(issuer) == key);
        let (_, server) = found.ok_or(Problem::NotOffered)?;
        let attempt = Attempt::begin();
        let url = match server.sign_in_url(&attempt, &settings.signed_in_address(), anew) {
            Ok(url) => url,
            Err(error) => {
                let mut happening = self.begins(DeedKind::SignIn)?;
                happening.by(None);
                happening.at(server);
                happening.because(&error);
                let problem = Problem::from(&error);
                happening.failed(&problem);
                return Err(problem);
            }
        };
        let issuer = server.settings().issuer.clone();
        let flow = Flow { attempt, issuer, link };
        let sealed = self.pages.browsers.flows.seal(&flow, self.now);
        let cookie = Cookie::Flow.set(&sealed, Some(FLOW_LIFETIME.as_secs()), settings);
        Ok(Reply::see_other(url.as_str()).with_cookie(cookie))
    }

    /// `GET …/signed-in`: back from the issuer. Whatever comes of it, it is not tried again; unless it cannot be recorded or has to
    /// wait, so that nothing has been done with what came.
    pub(super) async fn complete_sign_in(&self) -> Result<Reply, Problem> {
        let settings = &self.pages.settings;
        let mut happening = self.begins(DeedKind::SignIn)?;
        happening.by(None);
        let reply = match self.completed_sign_in(&mut happening).await {
            Ok((id, link)) => {
                happening.done();
                let rest = link.map_or_else(|| "/".to_owned(), |link| link.rest());
                let next = format!("{}{rest}", settings.base());
                Reply::see_other(&next).with_cookie(Cookie::Session.set(&id, None, settings))
            }
            Err(problem) => {
                let reply = self.say(&problem);
                happening.failed(&problem);
                if problem == Problem::TooMany {
                    return Ok(reply);
                }
                reply
            }
        };
        Ok(reply.with_cookie(Cookie::Flow.clear(settings)))
    }

    /// The session of who came back, by its id, and by which link they came in the first place.
    async fn completed_sign_in(&self, happening: &mut Happening) -> Result<(String, Option<Link>), Problem> {
        let Pages { settings, servers, browsers, .. } = self.pages;
        let query = self.query()?;
        let state = query.required("state")?;
        let sealed = Cookie::Flow.read(self.request.headers(), settings).ok_or(Problem::NotBegun)?;
        let (Flow { attempt, issuer, link }, mark) =
            browsers.flows.open(&sealed, self.now).ok_or(Problem::NotBegun)?;
        // Both are 256 random bits; their digests say nothing about how much of them is alike.
        if attempt.state.digest() != sha256(state.as_bytes()) {
            return Err(Problem::NotBegun);
        }
        let server = servers.get(&issuer).ok_or(Problem::NotOffered)?;
        happening.at(server);
        if !server.answers_as(query.get("iss")) {
            return Err(Problem::WrongIssuer);
        }
        if let Some(error) = query.get("error") {
            return Err(match Problem::of_answer(error, query.get("error_description")) {
                Problem::Refused(detail) => Problem::NotLetIn(detail),
                problem => problem,
            });
        }
        let code = SecretToken::new(query.required("code")?);
        let turn = browsers.completing.begin(self.visitor.peer.address.ip(), self.now.monotonic)?;
        // Whatever the issuer says to the code: it is not asked about another one.
        if !browsers.flows.use_up(mark, self.now) {
            return Err(Problem::NotBegun);
        }
        let since = browsers.sessions.forgets();
        let signed_in = server.sign_in(&attempt, &settings.signed_in_address(), &code, self.now).await;
        let person = signed_in.map_err(|error| {
            happening.because(&error);
            Problem::from(&error)
        })?;
        turn.came_to_something();
        happening.by(Some(self.known(&person)));
        // The session that the browser had is over, whoever's it was, and the new one has another name.
        if let Some(before) = &self.session {
            browsers.sessions.end(before);
        }
        let begun = browsers.sessions.begin(person, since, self.now.monotonic);
        Ok((begun.map_err(|Forgotten| Problem::Forgotten)?, link))
    }

    /// `POST …/sign-out`.
    pub(super) fn sign_out(&self, form: &Fields) -> Result<Reply, Problem> {
        let session = self.session_for("sign-out", form.get("token"))?;
        let happening = self.begins(DeedKind::SignOut)?;
        self.pages.browsers.sessions.end(session);
        happening.done();
        let page = DonePage {
            frame: self.frame_of(None),
            title: "You are signed out".to_owned(),
            kind: "good",
            lines: vec![
                "What you have connected stays connected. You are signed out of these pages alone, and perhaps still signed \
                 in at your organisation."
                    .to_owned(),
            ],
        };
        let cookie = Cookie::Session.clear(&self.pages.settings);
        Ok(Reply::page(StatusCode::OK, rendered(&page)).with_cookie(cookie))
    }
}

/// How links name an issuer: short, and the same for as long as it is configured.
fn issuer_key(issuer: &Issuer) -> String {
    sha256(issuer.as_str().as_bytes())[..ISSUER_KEY_BYTES].iter().map(|byte| format!("{byte:02x}")).collect()
}
