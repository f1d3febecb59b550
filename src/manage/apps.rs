//! Registered apps: their scopes, client secrets and tokens.

use std::ops::ControlFlow;

use jiff::SignedDuration;

use super::resolve;
use super::session::Session;
use super::write_context::{HandOver, WriteContext, deletion, each_once};
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
            refuse_taken(context.tx.reading(), None, &spec.name)?;
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
            let (before, after) = plan_edit(context.tx.reading(), context.acting, reference, edit)?;
            let permit = context.authorize(Action::EditApp, &target(&before))?;
            context.update(permit, before, after, SecretChange::Keep)
        })
    }

    /// Returns the app that [`Session::edit_app`] would change, as it is now.
    ///
    /// # Errors
    /// As there.
    pub fn preview_edit_app(&mut self, reference: &str, edit: AppEdit) -> Result<App> {
        let mut present = self.preview(|tx, acting| {
            let (before, after) = plan_edit(tx, acting, reference, edit)?;
            Ok(vec![Change::Update { before, after }])
        })?;
        present.pop().ok_or_else(|| Conflict::Fault("nothing was planned".to_owned()).into())
    }

    /// Gives an app a new client secret, and hands it over; as [`Session::rotate_key`]. Its tokens go on.
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

    /// Returns the app whose client secret [`Session::rotate_app`] would rotate.
    ///
    /// # Errors
    /// As there.
    pub fn preview_rotate_app(&mut self, reference: &str) -> Result<App> {
        self.keyring()?;
        self.read(|tx, acting| app(tx, acting, reference, Action::RotateApp))
    }

    /// Stops the client secret that an overlap keeps alive.
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
            let plan = plan_remove(context.tx.reading(), context.acting, references, reason)?;
            context.save_all(Action::RemoveApp, target, plan)
        })
    }

    /// Returns the apps that [`Session::remove_apps`] would remove.
    ///
    /// # Errors
    /// As there.
    pub fn preview_remove_apps(&mut self, references: &[String], reason: Option<&Label>) -> Result<Vec<App>> {
        self.preview(|tx, acting| plan_remove(tx, acting, references, reason))
    }

    /// Issues a token to an app, for a day, and hands it over: with these scopes, which must be among the app's, or
    /// with all of them.
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

fn plan_edit(tx: &mut impl ReadTx, acting: &Acting, reference: &str, edit: AppEdit) -> Result<(App, App)> {
    let before = app(tx, acting, reference, Action::EditApp)?;
    let after = edit.apply(&before, acting.at())?;
    if before.name != after.name {
        refuse_taken(tx, Some(before.id), &after.name)?;
    }
    Ok((before, after))
}

fn plan_remove(
    tx: &mut impl ReadTx,
    acting: &Acting,
    references: &[String],
    reason: Option<&Label>,
) -> Result<Vec<Change<App>>> {
    let apps = each_once(references, |reference| app(tx, acting, reference, Action::RemoveApp))?;
    Ok(apps.into_iter().map(|app| deletion(app, reason)).collect())
}

/// Refuses the name of another app.
fn refuse_taken(tx: &mut impl ReadTx, own: Option<Id>, name: &Name) -> Result<()> {
    match resolve::taken(name, own, |visit| tx.apps(&AppQuery::default(), visit))? {
        Some(App { id, name, .. }) => Err(Conflict::Taken { noun: Noun::App, name, id, what: "name" }.into()),
        None => Ok(()),
    }
}

impl<T: WriteTx> WriteContext<'_, T> {
    fn app(&mut self, typed: &str, action: Action) -> Result<App> {
        app(self.tx.reading(), self.acting, typed, action)
    }
}
