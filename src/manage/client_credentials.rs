//! Issues tokens to apps that authenticate with their client secret: the client credentials grant of OAuth (RFC 6749,
//! section 4.4).
//!
//! There is no acting user: the audit record names the app itself as the actor. A refused request writes nothing, and
//! does not wait for the write lock.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::write_context::{HandOver, request_id};
use crate::authz::Permit;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{APP_TOKEN_LIFE, Account, App, AppToken, Digest, Id, Scope, ScopeSet, Secret};
use crate::ports::{Clock, Entropy};
use crate::store::{AppBy, ReadTx, Store, Transaction};

/// The prefix of the scope that names the account: `as_account-us.SUBDOMAIN`.
const ACCOUNT_SCOPE: &str = "as_account-";
/// The service regions that can precede the subdomain.
const REGIONS: [&str; 2] = ["us.", "eu."];

/// The maximum number of tokens issued to an app in a [`TOKEN_WINDOW`].
///
/// No limit is documented; this one is our own. Each token costs a durable commit and an audit record, and is valid for
/// a day. The stored tokens of the app are counted, so that the limit applies across all processes, and requests
/// without the client secret do not consume it.
pub const TOKENS_IN_WINDOW: u32 = 60;
/// The length of the sliding window in which issued tokens are counted.
pub const TOKEN_WINDOW: SignedDuration = SignedDuration::from_mins(1);

/// A token request of an app.
#[derive(Debug)]
pub struct GrantRequest<'g> {
    /// The client id.
    pub client_id: &'g str,
    /// The client secret.
    pub client_secret: &'g Secret,
    /// The requested scopes, separated by spaces, which can include the scope that names the account. Without scopes,
    /// all scopes of the app are requested.
    pub scope: Option<&'g str>,
}

/// The result of a token request.
#[derive(Debug)]
pub enum Grant {
    /// A token was issued and passed to `hand_over`.
    Issued {
        /// The token.
        token: AppToken,
        /// Its scopes as the OAuth parameter `scope`, beginning with the account if it was requested.
        scope: String,
    },
    /// No token was issued.
    Refused(GrantRefusal),
}

/// The reason why no token is issued. Names and meanings are those of RFC 6749, section 5.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantRefusal {
    /// The app does not exist, or the client secret is not valid for it.
    InvalidClient,
    /// REST keys are switched off for the account.
    UnauthorizedClient,
    /// A requested scope is malformed, or the app does not have it.
    InvalidScope {
        /// The scopes that the app does not have.
        beyond: ScopeSet,
        /// The number of malformed scopes.
        no_scopes: usize,
    },
    /// The scope names another account, or this account has no subdomain.
    WrongAccount,
    /// The app was issued [`TOKENS_IN_WINDOW`] tokens in the last [`TOKEN_WINDOW`].
    TooMany {
        /// The time after which the app can request a token again.
        retry_after: SignedDuration,
    },
}

/// Issues a token to an app that authenticates with its client secret, and passes the token to `hand_over`.
///
/// # Errors
/// If the request cannot be decided, the token cannot be stored, or `hand_over` fails. A refusal is not an error.
pub fn grant_app_token<S: Store>(
    store: &mut S,
    clock: &dyn Clock,
    entropy: &mut dyn Entropy,
    request: &GrantRequest<'_>,
    hand_over: HandOver<'_, AppToken>,
) -> Result<Grant> {
    if !request.client_secret.is_client_secret() {
        return Ok(Grant::Refused(GrantRefusal::InvalidClient));
    }
    let digest = store.keyring()?.digest(&request.client_secret.fingerprint());
    let at = clock.now();
    if let Err(refusal) = decide(&store.read()?, request, &digest, at)? {
        return Ok(Grant::Refused(refusal));
    }
    let mut tx = Transaction::begin(store)?;
    // Decide again: the store may have changed before the write transaction began.
    let (app, asked) = match decide(&*tx, request, &digest, at)? {
        Ok(decided) => decided,
        Err(refusal) => return Ok(Grant::Refused(refusal)),
    };
    let request_id = request_id(entropy)?;
    let secret = Secret::app_token(entropy)?;
    let expires_at = at.checked_add(APP_TOKEN_LIFE).map_err(|_| Error::invalid("expiry", "too far away"))?;
    let token = AppToken {
        app: app.id,
        app_name: app.name.clone(),
        scopes: asked.scopes,
        hint: secret.hint(),
        issued_at: at,
        expires_at,
    };
    let permit = Permit::client(&app, &request.client_secret.hint(), &request_id, at);
    let digest = tx.keyring().digest(&secret.fingerprint());
    tx.issue_app_token(permit, &token, &digest)?;
    hand_over(&token, &secret).map_err(ErrorKind::HandOver)?;
    tx.commit().map_err(ErrorKind::Void)?;
    let scopes = token.scopes.iter().map(Scope::as_str);
    let scope = asked.account.iter().map(String::as_str).chain(scopes).collect::<Vec<_>>().join(" ");
    Ok(Grant::Issued { token, scope })
}

/// The parsed scope of a request.
struct Asked {
    account: Option<String>,
    scopes: ScopeSet,
}

type Decided = std::result::Result<(App, Asked), GrantRefusal>;

fn decide(tx: &impl ReadTx, request: &GrantRequest<'_>, digest: &Digest, at: Timestamp) -> Result<Decided> {
    let found = tx.app(AppBy::ClientSecret(digest, at))?;
    let Some(app) = found.filter(|app| request.client_id.parse::<Id>().is_ok_and(|id| id == app.id)) else {
        return Ok(Err(GrantRefusal::InvalidClient));
    };
    let account = tx.account()?;
    if !account.rest_api {
        return Ok(Err(GrantRefusal::UnauthorizedClient));
    }
    let asked = match asked(request.scope.unwrap_or_default(), &account, &app) {
        Ok(asked) => asked,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if let Some(issued_at) = tx.app_token_issued_at(app.id, TOKENS_IN_WINDOW)? {
        let age = at.duration_since(issued_at);
        // A token from the future was issued before the clock was set back, and does not count.
        if !age.is_negative() && age < TOKEN_WINDOW {
            return Ok(Err(GrantRefusal::TooMany { retry_after: TOKEN_WINDOW - age }));
        }
    }
    Ok(Ok((app, asked)))
}

fn asked(scope: &str, account: &Account, app: &App) -> std::result::Result<Asked, GrantRefusal> {
    let mut named = None;
    let mut scopes = Vec::new();
    let mut no_scopes = BTreeSet::new();
    for word in scope.split(' ').filter(|word| !word.is_empty()) {
        if let Some(place) = word.strip_prefix(ACCOUNT_SCOPE) {
            let subdomain = REGIONS.iter().find_map(|region| place.strip_prefix(region));
            let own = account.subdomain.as_ref().map(ToString::to_string);
            if own.is_none() || subdomain != own.as_deref() || named.is_some() {
                return Err(GrantRefusal::WrongAccount);
            }
            named = Some(word.to_owned());
        } else {
            match word.parse::<Scope>() {
                Ok(scope) => scopes.push(scope),
                Err(_) => drop(no_scopes.insert(word)),
            }
        }
    }
    let beyond: ScopeSet = scopes.iter().filter(|scope| !app.scopes.contains(scope)).cloned().collect();
    if !beyond.is_empty() || !no_scopes.is_empty() {
        return Err(GrantRefusal::InvalidScope { beyond, no_scopes: no_scopes.len() });
    }
    let scopes = if scopes.is_empty() { app.scopes.clone() } else { scopes.into_iter().collect() };
    Ok(Asked { account: named, scopes })
}
