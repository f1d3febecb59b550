//! Tokens for apps that ask for them with their own client secret: the client credentials of OAuth (RFC 6749, 4.4).
//!
//! There is no acting user: who has the client secret acts for the app, and the audit record says so. A request that
//! is refused writes nothing, and does not even wait to write.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::write_context::{HandOver, request_id};
use crate::authz::Permit;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{APP_TOKEN_LIFE, Account, App, AppToken, Digest, Id, Scope, ScopeSet, Secret};
use crate::ports::{Clock, Entropy};
use crate::store::{AppBy, ReadTx, Store, Transaction};

/// What an app's scope says of the account that it asks for: `as_account-us.SUBDOMAIN`.
const ACCOUNT_SCOPE: &str = "as_account-";
/// The regions that an account can be said to be in.
const REGIONS: [&str; 2] = ["us.", "eu."];

/// How many tokens an app gets in [`TOKEN_WINDOW`]: our own bound, since none is documented. What is counted are the
/// tokens of the app that the store keeps, so that it holds for all processes together, and who lacks the client secret
/// takes nothing of it away. Each issuing is a durable commit and an audit record, and one token is good for a day.
pub const TOKENS_IN_WINDOW: u32 = 60;
/// The time in which tokens are counted, which ends now.
pub const TOKEN_WINDOW: SignedDuration = SignedDuration::from_mins(1);

/// What an app asks for, and by what it is known.
#[derive(Debug)]
pub struct GrantRequest<'g> {
    /// Its client id.
    pub client_id: &'g str,
    /// Its client secret.
    pub client_secret: &'g Secret,
    /// The scopes that it asks for, with blanks between, and perhaps the account; without any, all that it has.
    pub scope: Option<&'g str>,
}

/// What becomes of it.
#[derive(Debug)]
pub enum Grant {
    /// A token was issued, and handed over.
    Issued {
        /// The token.
        token: AppToken,
        /// Its scopes as OAuth tells them, with the account first if it was asked for.
        scope: String,
    },
    /// No token.
    Refused(GrantRefusal),
}

/// Why an app gets no token. The names and meanings are those of RFC 6749, 5.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantRefusal {
    /// There is no such app, or that is not its client secret.
    InvalidClient,
    /// The account has REST keys switched off.
    UnauthorizedClient,
    /// Scopes that are none, or that the app does not have.
    InvalidScope {
        /// Those that the app does not have.
        beyond: ScopeSet,
        /// How many words are no scopes at all.
        no_scopes: usize,
    },
    /// It names another account than this, or this one has no subdomain.
    WrongAccount,
    /// The app was issued [`TOKENS_IN_WINDOW`] tokens in the last [`TOKEN_WINDOW`].
    TooMany {
        /// After how long it may ask again.
        retry_after: SignedDuration,
    },
}

/// Issues a token to an app that proves itself by its client secret, and hands the token over.
///
/// # Errors
/// If it could not be found out or done; a refusal is no error.
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
    // What was true a moment ago must be true in the transaction.
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

/// What an app asks for, taken apart.
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
        // A token of the future was issued before the clock was put back, and says nothing about now.
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
