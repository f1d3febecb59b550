//! Registered apps: their scopes, client secrets and tokens.

use std::ops::ControlFlow;

use jiff::SignedDuration;

use super::resolve;
use super::session::Session;
use super::write_context::{HandOver, WriteContext};
use crate::authz::{Acting, Action, Decision, Target, decide, require};
use crate::error::{Conflict, Error, Result};
use crate::model::{
    APP_TOKEN_LIFE, Ability, App, AppEdit, AppSpec, AppToken, Change, Id, Label, Name, Noun, Scope, ScopeSet,
    Secret, SecretChange,
};
use crate::store::{AppQuery, ReadTx, Store, Visit, WriteTx};

impl<S: Store> Session<'_, S> {
    /// Registers an app and passes its client secret to `hand_over`. The id of the app is its client id.
    ///
    /// # Errors
    /// If the acting user is not permitted to grant these scopes, the name is taken, or `hand_over` fails.
    pub fn register_app(&mut self, spec: AppSpec, hand_over: HandOver<'_, App>) -> Result<App> {
        self.write(|context| {
            context.require(Action::RegisterApp, &Target::all(Noun::App).with_scopes(&spec.scopes))?;
            if spec.scopes.is_empty() {
                return Err(Error::invalid("scope", "an app needs at least one"));
            }
            context.refuse_taken_app(None, &spec.name)?;
            let secret = Secret::client_secret(context.entropy)?;
            let app = App {
                id: context.fresh_id(Noun::App)?,
                name: spec.name,
                description: spec.description,
                scopes: spec.scopes,
                hint: secret.hint(),
                rate_limit: spec.rate_limit,
                overlap_ends_at: None,
                tokens_revoked_at: None,
                created_at: context.at(),
                created_by: context.acting.into(),
                last_used_at: None,
            };
            let permit = context.authorize(Action::RegisterApp, &target(&app))?;
            let issue = SecretChange::Issue(context.tx.keyring().digest(&secret.fingerprint()));
            context.tx.save(permit, &Change::Create(app.clone()), issue)?;
            context.hand_over(|| hand_over(&app, &secret))?;
            Ok(app)
        })
    }

    /// Visits the apps that the acting user is permitted to see, oldest first.
    ///
    /// # Errors
    /// If the acting user is not permitted to list apps, or `visit` returns an error.
    pub fn list_apps(&mut self, visit: Visit<'_, App>) -> Result<()> {
        self.read(|tx, acting| {
            require(acting, Action::ListApps, &Target::all(Noun::App))?;
            tx.apps(&AppQuery::default(), &mut |app| match decide(
                acting.user(),
                Action::ListApps,
                &target(&app),
            ) {
                Decision::Allowed => visit(app),
                Decision::Denied(_) => Ok(ControlFlow::Continue(())),
            })
        })
    }

    /// Returns an app by name or id.
    ///
    /// # Errors
    /// If the acting user is not permitted to see it, or it does not exist.
    pub fn app(&mut self, reference: &str) -> Result<App> {
        self.read(|tx, acting| app(tx, acting, reference, Action::ShowApp))
    }

    /// Changes the name, description or rate limit of an app, narrows its scopes, or revokes its tokens.
    ///
    /// # Errors
    /// If the acting user is not permitted, the app does not exist, its scopes would widen, or the name is taken.
    pub fn edit_app(&mut self, reference: &str, edit: AppEdit) -> Result<App> {
        self.write(|context| {
            let before = context.app(reference, Action::EditApp)?;
            let after = edit.apply(&before, context.at())?;
            if before.name != after.name {
                context.refuse_taken_app(Some(before.id), &after.name)?;
            }
            let permit = context.authorize(Action::EditApp, &target(&before))?;
            context.update(permit, before, after, SecretChange::Keep)
        })
    }

    /// Replaces the client secret of an app and passes the new one to `hand_over`, like [`Session::rotate_key`]. Issued
    /// tokens remain valid.
    ///
    /// # Errors
    /// If the acting user is not permitted, the app does not exist, or `hand_over` fails.
    pub fn rotate_app(
        &mut self,
        reference: &str,
        overlap: Option<SignedDuration>,
        hand_over: HandOver<'_, App>,
    ) -> Result<App> {
        self.write(|context| {
            let before = context.app(reference, Action::RotateApp)?;
            let secret = Secret::client_secret(context.entropy)?;
            let permit = context.authorize(Action::RotateApp, &target(&before))?;
            context.rotate(permit, before, &secret, overlap, hand_over)
        })
    }

    /// Ends the overlap of a rotation: the previous client secret becomes invalid.
    ///
    /// # Errors
    /// If the acting user is not permitted, the app does not exist, or it has no overlap.
    pub fn end_app_overlap(&mut self, reference: &str) -> Result<App> {
        self.write(|context| {
            let before = context.app(reference, Action::RotateApp)?;
            let permit = context.authorize(Action::RotateApp, &target(&before))?;
            context.end_overlap(permit, before)
        })
    }

    /// Removes apps permanently, with their tokens: all of them or none.
    ///
    /// # Errors
    /// If the acting user is not permitted, or an app does not exist.
    pub fn remove_apps(&mut self, references: &[String], reason: Option<&Label>) -> Result<Vec<App>> {
        self.write(|context| {
            let apps = context
                .each_once(references, |context, reference| context.app(reference, Action::RemoveApp))?;
            apps.into_iter()
                .map(|app| {
                    let permit = context.authorize(Action::RemoveApp, &target(&app))?;
                    context.delete(permit, app, reason)
                })
                .collect()
        })
    }

    /// Issues a token to an app, valid for one day, and passes it to `hand_over`. The token has the given scopes, or
    /// all scopes of the app.
    ///
    /// # Errors
    /// If the acting user is not permitted, the app does not exist or lacks a scope, REST keys are switched off for the
    /// account, or `hand_over` fails.
    pub fn issue_app_token(
        &mut self,
        reference: &str,
        scopes: Option<ScopeSet>,
        hand_over: HandOver<'_, AppToken>,
    ) -> Result<AppToken> {
        self.write(|context| {
            let app = context.app(reference, Action::IssueAppToken)?;
            if !context.tx.account()?.rest_api {
                return Err(Conflict::SwitchedOff(Ability::RestApi).into());
            }
            let scopes = scopes.unwrap_or_else(|| app.scopes.clone());
            let beyond: Vec<_> =
                scopes.iter().filter(|scope| !app.scopes.contains(scope)).map(Scope::as_str).collect();
            if !beyond.is_empty() {
                return Err(Conflict::BeyondApp { app: app.name, scopes: beyond.join(", ") }.into());
            }
            let secret = Secret::app_token(context.entropy)?;
            let expires_at = context
                .at()
                .checked_add(APP_TOKEN_LIFE)
                .map_err(|_| Error::invalid("expiry", "too far away"))?;
            let token = AppToken {
                app: app.id,
                app_name: app.name.clone(),
                scopes,
                hint: secret.hint(),
                issued_at: context.at(),
                expires_at,
            };
            let permit = context.authorize(Action::IssueAppToken, &target(&app))?;
            let digest = context.tx.keyring().digest(&secret.fingerprint());
            context.tx.issue_app_token(permit, &token, &digest)?;
            context.hand_over(|| hand_over(&token, &secret))?;
            Ok(token)
        })
    }
}

fn target(app: &App) -> Target {
    Target::of(app).with_scopes(&app.scopes)
}

/// Returns an app if the acting user is permitted to do `action` to it. An app that the user may not see is not found.
fn app(tx: &mut impl ReadTx, acting: &Acting, typed: &str, action: Action) -> Result<App> {
    require(acting, action, &Target::all(Noun::App))?;
    let seen = |app: &App| decide(acting.user(), Action::ShowApp, &target(app)) == Decision::Allowed;
    let app = resolve::app(tx, typed, seen)?;
    require(acting, action, &target(&app))?;
    Ok(app)
}

impl<T: WriteTx> WriteContext<'_, T> {
    fn app(&mut self, typed: &str, action: Action) -> Result<App> {
        app(self.tx.reading(), self.acting, typed, action)
    }

    fn refuse_taken_app(&mut self, own: Option<Id>, name: &Name) -> Result<()> {
        match resolve::taken(name, own, |visit| self.tx.reading().apps(&AppQuery::default(), visit))? {
            Some(App { id, name, .. }) => {
                Err(Conflict::Taken { noun: Noun::App, name, id, what: "name" }.into())
            }
            None => Ok(()),
        }
    }
}
