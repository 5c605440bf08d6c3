//! The gateway's own token at an authorization server: what says, as the actor token of an exchange, who acts.

use std::time::Duration;

use http::StatusCode;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::request::{Request, Surroundings};
use super::{Asking, CLIENT_CREDENTIALS, ExchangeError, answer};
use crate::checked_url::CheckedUrl;
use crate::clock::Now;
use crate::identity::{Scopes, SecretToken};
use crate::oauth::ExchangeSettings;
use crate::oauth::authorization_server::AuthorizationServer;
use crate::oauth::error_response::ErrorResponse;
use crate::tool::Target;

/// How long before its end it is not sent any more.
const MARGIN: Duration = Duration::from_secs(30);

/// The gateway's own token, while it lives.
#[derive(Debug, Default)]
pub struct OwnToken(Mutex<Option<(SecretToken, Instant)>>);

impl AuthorizationServer {
    /// The gateway's own token, obtained with its client credentials when there is none. Whoever comes meanwhile waits.
    pub(super) async fn own_token(
        &self,
        settings: &ExchangeSettings,
        endpoint: &CheckedUrl,
        scopes: &Scopes,
        surroundings: &Surroundings,
        asking: Asking<'_>,
        now: Now,
    ) -> Result<SecretToken, ExchangeError> {
        let issuer = || self.settings().name.clone();
        let mut own = self.kept_own_token().0.lock().await;
        if let Some((token, _)) = own.as_ref().filter(|(_, until)| Instant::now() < *until) {
            return Ok(token.clone());
        }
        let asked = Instant::now();
        let exchange = async {
            let request = Request::client_credentials(settings, endpoint, scopes, surroundings, now)
                .map_err(|why| ExchangeError::Unprepared { issuer: issuer(), why })?;
            let answer = self.send(endpoint, request).await?;
            if answer.status != StatusCode::OK {
                let refused = Box::new(ErrorResponse::read(&answer));
                return Err(ExchangeError::Refused { issuer: issuer(), refused, consent_url: None });
            }
            answer::read_bearer(&answer).map_err(|why| ExchangeError::Unusable { issuer: issuer(), why })
        };
        let whom = self.asked(CLIENT_CREDENTIALS, Some(endpoint), &settings.client_id);
        let target = Target { scopes: scopes.clone(), ..Target::default() };
        let issued = asking.recorded(whom, None, &target, exchange).await?;
        let life = issued.lifetime.unwrap_or_default().saturating_sub(MARGIN);
        *own = asked.checked_add(life).map(|until| (issued.token.clone(), until));
        Ok(issued.token)
    }
}
