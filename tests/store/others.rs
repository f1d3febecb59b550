//! Stories of user tokens, of services, orchestrations and their integrations, and of apps.

use std::ops::ControlFlow;

use jiff::{SignedDuration, Timestamp};
use pdkeys::Result;
use pdkeys::authz::{Action, Permit, Target, authorize};
use pdkeys::manage::{Grant, GrantRefusal, GrantRequest, Outcome, TOKENS_IN_WINDOW, grant_app_token, revoke};
use pdkeys::model::{
    APP_TOKEN_LIFE, Access, App, AppToken, Audited, Change, CredentialKind, Destination, DestinationRef,
    Digest, Id, Integration, IntegrationType, Name, Noun, RateLimit, Role, Sealed, SecretChange, User,
    UserToken,
};
use pdkeys::ports::SystemEntropy;
use pdkeys::store::{
    AppBy, AppQuery, AuditQuery, CredentialLookup, Death, DestinationBy, DestinationQuery, DigestOwner,
    HasSecrets, IntegrationQuery, LookupResult, ReadTx as _, Store as _, TokenQuery, Tombstone, Transaction,
    Window,
};

use crate::site::{Engine, Frozen, Site, label, moment, name, secret};

fn permit<E: Engine, T: Audited>(site: &Site<E>, action: Action, change: &Change<T>) -> Result<Permit> {
    let target = Target::of(change.subject()).belonging_to(site.owner());
    Ok(authorize(&site.acting(), action, &target)?)
}

fn save<E: Engine, N: HasSecrets>(
    site: &mut Site<E>,
    action: Action,
    change: &Change<N>,
    secrets: SecretChange,
) -> Result<()> {
    let permit = permit(site, action, change)?;
    let mut tx = Transaction::begin(site.writer())?;
    tx.save(permit, change, secrets)?;
    tx.commit()
}

fn save_destination<E: Engine>(
    site: &mut Site<E>,
    action: Action,
    change: &Change<Destination>,
) -> Result<()> {
    let permit = permit(site, action, change)?;
    let mut tx = Transaction::begin(site.writer())?;
    tx.save_destination(permit, change)?;
    tx.commit()
}

pub(crate) fn new_token<E: Engine>(site: &Site<E>, id: &str, user: &User) -> UserToken {
    UserToken {
        id: id.parse().unwrap(),
        user: user.clone(),
        description: label("laptop"),
        hint: Some(secret("u+0123456789abcdWXYZ").hint()),
        access: Access::Role(None),
        created_at: site.now(),
        expires_at: None,
        overlap_ends_at: None,
        last_used_at: None,
    }
}

pub(crate) fn add_token<E: Engine>(site: &mut Site<E>, token: &UserToken, plain: &str) {
    let issue = SecretChange::Issue(site.digest(plain));
    save(site, Action::CreateUserToken, &Change::Create(token.clone()), issue).unwrap();
}

fn new_destination<E: Engine>(site: &Site<E>, id: &str, called: &str) -> Destination {
    let id: Id = id.parse().unwrap();
    Destination {
        id,
        name: Name::parse(id.noun(), called).unwrap(),
        description: None,
        created_at: site.now(),
        created_by: site.owner_ref(),
    }
}

/// Adds a service or an orchestration, as its id says.
pub(crate) fn add_destination<E: Engine>(site: &mut Site<E>, id: &str, called: &str) -> Destination {
    let destination = new_destination(site, id, called);
    let action = match destination.id.noun() {
        Noun::Service => Action::CreateService,
        _ => Action::CreateOrchestration,
    };
    save_destination(site, action, &Change::Create(destination.clone())).unwrap();
    destination
}

pub(crate) fn new_integration<E: Engine>(site: &Site<E>, id: &str, into: &Destination) -> Integration {
    Integration {
        id: id.parse().unwrap(),
        name: Name::parse(Noun::Integration, "alerts").unwrap(),
        kind: IntegrationType::EventsApiV2,
        destination: DestinationRef::from(into),
        hint: secret("0123456789abcdef0123456789abcdef").hint(),
        sealed_key: Sealed::stored(vec![0, 255, 39, 10]),
        created_at: site.now(),
        created_by: site.owner_ref(),
        rate_limit: None,
        last_used_at: None,
    }
}

pub(crate) fn add_integration<E: Engine>(site: &mut Site<E>, integration: &Integration, plain: &str) {
    let issue = SecretChange::Issue(site.digest(plain));
    save(site, Action::CreateIntegration, &Change::Create(integration.clone()), issue).unwrap();
}

pub(crate) fn new_app<E: Engine>(site: &Site<E>, id: &str, called: &str) -> App {
    App {
        id: id.parse().unwrap(),
        name: Name::parse(Noun::App, called).unwrap(),
        description: None,
        scopes: "incidents.read services.write".parse().unwrap(),
        hint: secret("0123456789abcdefWXYZ").hint(),
        rate_limit: None,
        overlap_ends_at: None,
        tokens_revoked_at: None,
        created_at: site.now(),
        created_by: site.owner_ref(),
        last_used_at: None,
    }
}

pub(crate) fn add_app<E: Engine>(site: &mut Site<E>, app: &App, plain: &str) {
    let issue = SecretChange::Issue(site.digest(plain));
    save(site, Action::RegisterApp, &Change::Create(app.clone()), issue).unwrap();
}

fn issue_token<E: Engine>(site: &mut Site<E>, app: &App, plain: &str) -> AppToken {
    let token = AppToken {
        app: app.id,
        app_name: app.name.clone(),
        scopes: "incidents.read".parse().unwrap(),
        hint: secret("pdus+_0ABC123_01234567-89ab-cdef-0123-456789abcdef").hint(),
        issued_at: site.now(),
        expires_at: site.now() + APP_TOKEN_LIFE,
    };
    let digest = site.digest(plain);
    let permit = authorize(&site.acting(), Action::IssueAppToken, &Target::of(app)).unwrap();
    let mut tx = Transaction::begin(site.writer()).unwrap();
    tx.issue_app_token(permit, &token, &digest).unwrap();
    tx.commit().unwrap();
    token
}

fn tokens<E: Engine>(site: &mut Site<E>, user: Option<Id>) -> Vec<UserToken> {
    let mut found = Vec::new();
    let visit = &mut |token| {
        found.push(token);
        Ok(ControlFlow::Continue(()))
    };
    site.reader().read().unwrap().user_tokens(&TokenQuery { user, ..TokenQuery::default() }, visit).unwrap();
    found
}

fn destinations<E: Engine>(site: &mut Site<E>, noun: Noun) -> Vec<Destination> {
    let mut found = Vec::new();
    let visit = &mut |destination| {
        found.push(destination);
        Ok(ControlFlow::Continue(()))
    };
    site.reader().read().unwrap().destinations(&DestinationQuery::all(noun), visit).unwrap();
    found
}

fn integrations<E: Engine>(site: &mut Site<E>, into: Option<Id>) -> Vec<Integration> {
    let mut found = Vec::new();
    let visit = &mut |integration| {
        found.push(integration);
        Ok(ControlFlow::Continue(()))
    };
    site.reader()
        .read()
        .unwrap()
        .integrations(&IntegrationQuery { destination: into, ..IntegrationQuery::default() }, visit)
        .unwrap();
    found
}

fn apps<E: Engine>(site: &mut Site<E>) -> Vec<App> {
    let mut found = Vec::new();
    let visit = &mut |app| {
        found.push(app);
        Ok(ControlFlow::Continue(()))
    };
    site.reader().read().unwrap().apps(&AppQuery::default(), visit).unwrap();
    found
}

fn is_taken<E: Engine>(site: &mut Site<E>, id: Id) -> bool {
    site.reader().read().unwrap().is_taken(id).unwrap()
}

fn find<E: Engine>(site: &mut Site<E>, plain: &str) -> CredentialLookup {
    let digest = site.digest(plain);
    site.reader().find_credential(&digest).unwrap()
}

fn live(id: Id, ends_at: Option<Timestamp>) -> DigestOwner {
    DigestOwner::Live { id, ends_at }
}

fn dead(id: Id, death: Death, at: Timestamp) -> DigestOwner {
    DigestOwner::Dead(Tombstone { id, death, at })
}

// User tokens.

pub(crate) fn every_field_of_a_user_token_reads_back_and_changes<E: Engine>(site: &mut Site<E>) {
    let owner = site.owner().clone();
    let jim = User {
        email: Some(label("jim@example.org")),
        role: Role::Admin,
        external_id: Some(label("PJIM")),
        rate_limit: Some(RateLimit::PerMinute(3)),
        ..site.new_user("U00000001", "jim")
    };
    site.add_user(&jim);
    let plain = new_token(site, "T00000001", &owner);
    let full = UserToken {
        description: label("Größe 'quoted' 鍵"),
        access: Access::Role(Some("incidents.read users:sessions.write".parse().unwrap())),
        expires_at: Some(moment("2031-12-31T23:59:59.999Z")),
        overlap_ends_at: Some(moment("2026-03-02T00:00:00Z")),
        ..new_token(site, "T00000002", &owner)
    };
    let unknown = UserToken { hint: None, ..new_token(site, "T00000003", &jim) };
    for token in [&plain, &full] {
        add_token(site, token, token.id.to_string().as_str());
    }
    // Nobody but its user makes a token, so that the permit for jim's is jim's own.
    let acting = pdkeys::authz::Acting::os_user(jim.clone(), "feedfacefeedface".to_owned(), site.now());
    let target = Target::of(&unknown).belonging_to(&jim);
    let jims = authorize(&acting, Action::CreateUserToken, &target).unwrap();
    let mut tx = Transaction::begin(site.writer()).unwrap();
    tx.save(jims, &Change::Create(unknown.clone()), SecretChange::Keep).unwrap();
    tx.commit().unwrap();

    for token in [&plain, &full, &unknown] {
        let found = site.reader().read().unwrap().user_token(token.id).unwrap();
        assert_eq!(found.as_ref(), Some(token));
    }
    assert_eq!(tokens(site, None), [plain.clone(), full.clone(), unknown.clone()]);
    assert_eq!(tokens(site, Some(owner.id)), [plain.clone(), full.clone()]);
    assert_eq!(tokens(site, Some(jim.id)), [unknown]);
    assert_eq!(tokens(site, Some("U00000009".parse().unwrap())), []);
    assert_eq!(site.reader().read().unwrap().user_token("T00000009".parse().unwrap()).unwrap(), None);

    let edited = UserToken {
        description: full.description.clone(),
        access: full.access.clone(),
        expires_at: full.expires_at,
        ..plain.clone()
    };
    let rotated = UserToken {
        hint: Some(secret("u+0123456789abcd1234").hint()),
        overlap_ends_at: full.overlap_ends_at,
        ..edited.clone()
    };
    for (action, before, after) in [
        (Action::EditUserToken, &plain, &edited),
        (Action::RotateUserToken, &edited, &rotated),
        (Action::RotateUserToken, &rotated, &edited),
        (Action::EditUserToken, &edited, &plain),
    ] {
        let change = Change::Update { before: before.clone(), after: after.clone() };
        save(site, action, &change, SecretChange::Keep).unwrap();
        assert_eq!(site.reader().read().unwrap().user_token(plain.id).unwrap().as_ref(), Some(after));
    }
}

pub(crate) fn secrets_of_a_user_token_are_issued_rotated_and_killed<E: Engine>(site: &mut Site<E>) {
    let owner = site.owner().clone();
    let token = new_token(site, "T00000001", &owner);
    assert!(!is_taken(site, token.id));
    add_token(site, &token, "first");
    assert_eq!(site.holder("first"), Some(live(token.id, None)));
    let end = site.now() + SignedDuration::from_hours(1);
    let rotate = SecretChange::Rotate { new: site.digest("second"), old_ends_at: Some(end) };
    let same = Change::Update { before: token.clone(), after: token.clone() };
    save(site, Action::RotateUserToken, &same, rotate).unwrap();
    assert_eq!(site.holder("first"), Some(live(token.id, Some(end))));
    assert_eq!(site.holder("second"), Some(live(token.id, None)));
    let ended_at = site.wait(1);
    save(site, Action::RotateUserToken, &same, SecretChange::EndOverlap).unwrap();
    assert_eq!(site.holder("first"), Some(dead(token.id, Death::Rotated, ended_at)));
    let removed_at = site.wait(1);
    let remove = Change::Delete { before: token.clone(), reason: None };
    save(site, Action::RemoveUserToken, &remove, SecretChange::Keep).unwrap();
    assert_eq!(site.holder("second"), Some(dead(token.id, Death::Removed, removed_at)));
    assert_eq!(tokens(site, None), []);
    assert!(is_taken(site, token.id));
}

pub(crate) fn a_secret_is_live_in_one_credential_of_any_kind<E: Engine>(site: &mut Site<E>) {
    let key = site.new_key("K00000001", "one");
    site.add_key(&key, "first");
    let owner = site.owner().clone();
    let token = new_token(site, "T00000001", &owner);
    let issue = SecretChange::Issue(site.digest("first"));
    assert!(save(site, Action::CreateUserToken, &Change::Create(token.clone()), issue).is_err());
    assert_eq!(tokens(site, None), []);
    site.remove_key(&key);
    let issue = SecretChange::Issue(site.digest("first"));
    assert!(save(site, Action::CreateUserToken, &Change::Create(token), issue).is_err());
    assert_eq!(tokens(site, None), []);
}

// Services, orchestrations and integrations.

pub(crate) fn services_and_orchestrations_read_back_and_change<E: Engine>(site: &mut Site<E>) {
    assert!(!is_taken(site, "S00000001".parse().unwrap()));
    let web = add_destination(site, "S00000001", "web");
    let router = add_destination(site, "O00000001", "router");
    let mail = add_destination(site, "S00000002", "mail");
    assert_eq!(destinations(site, Noun::Service), [web.clone(), mail]);
    assert_eq!(destinations(site, Noun::Orchestration), std::slice::from_ref(&router));
    {
        let tx = site.reader().read().unwrap();
        assert_eq!(tx.destination(DestinationBy::Id(web.id)).unwrap().as_ref(), Some(&web));
        assert_eq!(tx.destination(DestinationBy::Id("S00000009".parse().unwrap())).unwrap(), None);
        assert_eq!(tx.destination(DestinationBy::Name(Noun::Service, "web")).unwrap().as_ref(), Some(&web));
        assert_eq!(tx.destination(DestinationBy::Name(Noun::Orchestration, "web")).unwrap(), None);
        assert_eq!(
            tx.destination(DestinationBy::Name(Noun::Orchestration, "router")).unwrap().as_ref(),
            Some(&router)
        );
        assert_eq!(
            tx.destination(DestinationBy::Name(Noun::Service, "WEB")).unwrap(),
            None,
            "names are compared exactly"
        );
    }
    let after = Destination {
        name: Name::parse(Noun::Service, "shop").unwrap(),
        description: Some(label("Größe 'quoted'")),
        ..web.clone()
    };
    for (before, after) in [(&web, &after), (&after, &web)] {
        let change = Change::Update { before: before.clone(), after: after.clone() };
        save_destination(site, Action::EditService, &change).unwrap();
        assert_eq!(
            site.reader().read().unwrap().destination(DestinationBy::Id(web.id)).unwrap().as_ref(),
            Some(after)
        );
    }
    let remove = Change::Delete { before: web.clone(), reason: None };
    save_destination(site, Action::RemoveService, &remove).unwrap();
    assert_eq!(site.reader().read().unwrap().destination(DestinationBy::Id(web.id)).unwrap(), None);
    assert!(is_taken(site, web.id));
}

pub(crate) fn a_name_is_unique_among_services_and_among_orchestrations<E: Engine>(site: &mut Site<E>) {
    add_destination(site, "S00000001", "web");
    add_destination(site, "O00000001", "web");
    let mail = add_destination(site, "S00000002", "mail");
    let before = site.everything();
    for (id, action) in [("S00000003", Action::CreateService), ("O00000003", Action::CreateOrchestration)] {
        let second = new_destination(site, id, "web");
        assert!(save_destination(site, action, &Change::Create(second)).is_err(), "{id}");
    }
    let renamed = Destination { name: Name::parse(Noun::Service, "web").unwrap(), ..mail.clone() };
    let change = Change::Update { before: mail, after: renamed };
    assert!(save_destination(site, Action::EditService, &change).is_err());
    assert_eq!(site.everything(), before);
}

pub(crate) fn every_field_of_an_integration_reads_back<E: Engine>(site: &mut Site<E>) {
    let web = add_destination(site, "S00000001", "web");
    let router = add_destination(site, "O00000001", "router");
    let mut all = Vec::new();
    for (number, kind) in (1..).zip(IntegrationType::ALL) {
        let into = if number % 2 == 0 { &router } else { &web };
        let rate_limit = [None, Some(RateLimit::PerMinute(7)), Some(RateLimit::Unlimited)][number % 3];
        let integration =
            Integration { kind, rate_limit, ..new_integration(site, &format!("I000000{number:02}"), into) };
        add_integration(site, &integration, &format!("secret {number}"));
        let found = site.reader().read().unwrap().integration(integration.id).unwrap();
        assert_eq!(found.as_ref(), Some(&integration));
        assert_eq!(site.holder(&format!("secret {number}")), Some(live(integration.id, None)));
        all.push(integration);
    }
    assert_eq!(integrations(site, None), all);
    for into in [&web, &router] {
        let own: Vec<_> = all.iter().filter(|one| one.destination.id == into.id).cloned().collect();
        assert_eq!(integrations(site, Some(into.id)), own);
    }
    assert_eq!(site.reader().read().unwrap().integration("I00000099".parse().unwrap()).unwrap(), None);
}

pub(crate) fn a_moved_integration_keeps_its_secret_and_a_removed_one_leaves_a_tombstone<E: Engine>(
    site: &mut Site<E>,
) {
    let web = add_destination(site, "S00000001", "web");
    let mail = add_destination(site, "S00000002", "mail");
    let before = new_integration(site, "I00000001", &web);
    add_integration(site, &before, "first");
    let moved = Integration { destination: DestinationRef::from(&mail), ..before.clone() };
    let change = Change::Update { before: before.clone(), after: moved.clone() };
    save(site, Action::MoveIntegration, &change, SecretChange::Keep).unwrap();
    assert_eq!(integrations(site, Some(web.id)), []);
    assert_eq!(integrations(site, Some(mail.id)), std::slice::from_ref(&moved));
    assert_eq!(site.holder("first"), Some(live(before.id, None)));
    let at = site.wait(1);
    let remove = Change::Delete { before: moved, reason: Some(label("key-compromise")) };
    save(site, Action::RemoveIntegration, &remove, SecretChange::Keep).unwrap();
    assert_eq!(site.holder("first"), Some(dead(before.id, Death::Removed, at)));
    assert_eq!(integrations(site, None), []);
    assert!(is_taken(site, before.id));
}

pub(crate) fn what_still_has_integrations_is_not_deleted<E: Engine>(site: &mut Site<E>) {
    let web = add_destination(site, "S00000001", "web");
    let integration = new_integration(site, "I00000001", &web);
    add_integration(site, &integration, "first");
    let before = site.everything();
    let remove = Change::Delete { before: web.clone(), reason: None };
    assert!(save_destination(site, Action::RemoveService, &remove).is_err());
    assert_eq!(site.everything(), before);
    assert_eq!(integrations(site, Some(web.id)), [integration]);
    // Nor does an integration lead into what is not there.
    let gone = new_destination(site, "S00000009", "gone");
    let nowhere = Change::Create(new_integration(site, "I00000002", &gone));
    assert!(save(site, Action::CreateIntegration, &nowhere, SecretChange::Keep).is_err());
    assert_eq!(site.everything(), before);
}

// Apps.

pub(crate) fn every_field_of_an_app_reads_back_and_changes<E: Engine>(site: &mut Site<E>) {
    let plain = new_app(site, "A00000001", "bot");
    add_app(site, &plain, "first");
    let other = App { rate_limit: Some(RateLimit::Unlimited), ..new_app(site, "A00000002", "other") };
    add_app(site, &other, "other");
    assert_eq!(apps(site), [plain.clone(), other]);
    let edited = App {
        name: Name::parse(Noun::App, "Größe").unwrap(),
        description: Some(label("what it is for")),
        scopes: "incidents.read".parse().unwrap(),
        rate_limit: Some(RateLimit::PerMinute(5)),
        tokens_revoked_at: Some(site.now()),
        ..plain.clone()
    };
    let rotated = App {
        hint: secret("0123456789abcdef1234").hint(),
        overlap_ends_at: Some(moment("2026-03-02T00:00:00Z")),
        ..edited.clone()
    };
    for (action, before, after) in
        [(Action::EditApp, &plain, &edited), (Action::RotateApp, &edited, &rotated)]
    {
        let change = Change::Update { before: before.clone(), after: after.clone() };
        save(site, action, &change, SecretChange::Keep).unwrap();
        let tx = site.reader().read().unwrap();
        assert_eq!(tx.app(AppBy::Id(plain.id)).unwrap().as_ref(), Some(after));
        assert_eq!(tx.app(AppBy::Name("Größe")).unwrap().as_ref(), Some(after));
        assert_eq!(tx.app(AppBy::Name("bot")).unwrap(), None);
    }
    let before = site.everything();
    let second = Change::Create(new_app(site, "A00000003", "other"));
    assert!(save(site, Action::RegisterApp, &second, SecretChange::Keep).is_err(), "names are unique");
    assert_eq!(site.everything(), before);
}

pub(crate) fn an_app_is_found_by_its_client_secrets_as_long_as_they_live<E: Engine>(site: &mut Site<E>) {
    let app = new_app(site, "A00000001", "bot");
    add_app(site, &app, "first");
    let end = site.now() + SignedDuration::from_mins(60);
    let rotate = SecretChange::Rotate { new: site.digest("second"), old_ends_at: Some(end) };
    let same = Change::Update { before: app.clone(), after: app.clone() };
    save(site, Action::RotateApp, &same, rotate).unwrap();
    let of = |site: &mut Site<E>, plain: &str, at| {
        let digest: Digest = site.digest(plain);
        site.reader().read().unwrap().app(AppBy::ClientSecret(&digest, at)).unwrap()
    };
    let now = site.now();
    assert_eq!(of(site, "first", now), Some(app.clone()));
    assert_eq!(of(site, "second", end), Some(app.clone()));
    assert_eq!(of(site, "first", end), None, "its overlap is over");
    assert_eq!(of(site, "never issued", now), None);
    assert!(matches!(find(site, "second").result, LookupResult::Unknown), "a client secret opens nothing");
    let remove = Change::Delete { before: app.clone(), reason: None };
    save(site, Action::RemoveApp, &remove, SecretChange::Keep).unwrap();
    assert_eq!(of(site, "second", now), None);
    assert_eq!(site.holder("second"), Some(dead(app.id, Death::Removed, now)));
    assert_eq!(apps(site), []);
}

pub(crate) fn an_app_token_lives_a_day_or_until_it_is_revoked_or_the_app_goes<E: Engine>(site: &mut Site<E>) {
    let app = new_app(site, "A00000001", "bot");
    let other = new_app(site, "A00000002", "other");
    add_app(site, &app, "first");
    add_app(site, &other, "second");
    let token = issue_token(site, &app, "token 1");
    issue_token(site, &other, "token of the other");
    let LookupResult::Known(credential) = find(site, "token 1").result else { panic!("not found") };
    assert_eq!((credential.kind, credential.id), (CredentialKind::AppToken, app.id));
    assert_eq!(credential.expires_at, Some(token.expires_at));
    assert_eq!(credential.access, Access::Scopes(token.scopes));
    assert_eq!(site.holder("token 1"), Some(live(app.id, None)));

    let revoked_at = site.wait(1);
    let revoked = App { tokens_revoked_at: Some(revoked_at), ..app.clone() };
    let change = Change::Update { before: app, after: revoked.clone() };
    save(site, Action::EditApp, &change, SecretChange::Keep).unwrap();
    assert_eq!(site.holder("token 1"), Some(dead(revoked.id, Death::Removed, revoked_at)));
    assert_eq!(site.holder("token of the other"), Some(live(other.id, None)));
    assert_eq!(site.holder("first"), Some(live(revoked.id, None)), "the client secret goes on");

    issue_token(site, &revoked, "token 2");
    site.wait(24 * 60);
    issue_token(site, &other, "token 3");
    assert_eq!(site.holder("token 2"), None, "its day is over, and it is cleared away");
    let removed_at = site.wait(1);
    let remove = Change::Delete { before: other.clone(), reason: None };
    save(site, Action::RemoveApp, &remove, SecretChange::Keep).unwrap();
    assert_eq!(site.holder("token 3"), Some(dead(other.id, Death::Removed, removed_at)));
}

pub(crate) fn one_token_of_an_app_is_revoked_and_the_others_go_on<E: Engine>(site: &mut Site<E>) {
    let app = new_app(site, "A00000001", "bot");
    add_app(site, &app, "first");
    let plain = "pdus+_0ABC123_01234567-89ab-cdef-0123-456789abcdef";
    let token = issue_token(site, &app, plain);
    issue_token(site, &app, "another");
    let digest = site.digest(plain);
    assert_eq!(site.reader().read().unwrap().app_token(&digest).unwrap(), Some(token));
    let never = site.digest("never issued");
    assert_eq!(site.reader().read().unwrap().app_token(&never).unwrap(), None);

    // Nobody of the account may: only who holds the token.
    let revoked_at = site.wait(1);
    let revoked = revoke(site.writer(), &Frozen(revoked_at), &mut SystemEntropy, &secret(plain)).unwrap();
    assert_eq!(revoked.unwrap().outcome, Outcome::Revoked);
    assert_eq!(site.holder(plain), Some(dead(app.id, Death::Removed, revoked_at)));
    assert_eq!(site.reader().read().unwrap().app_token(&digest).unwrap(), None);
    assert_eq!(site.holder("another"), Some(live(app.id, None)));
    assert_eq!(site.records(&AuditQuery::default())[0].root_resource.kind, "app_token");
}

pub(crate) fn an_app_gets_so_many_tokens_within_a_minute<E: Engine>(site: &mut Site<E>) {
    let [app, other] = [new_app(site, "A00000001", "bot"), new_app(site, "A00000002", "crm")];
    let [plain, others] = ["a", "b"].map(|letter| format!("pdcs_{}", letter.repeat(43)));
    add_app(site, &app, &plain);
    add_app(site, &other, &others);
    let ask = |site: &mut Site<E>, app: &App, plain: &str, scope: Option<&str>, at: Timestamp| {
        let client_id = app.id.to_string();
        let request = GrantRequest { client_id: &client_id, client_secret: &secret(plain), scope };
        let issued = &mut |_: &AppToken, _: &_| Ok(());
        match grant_app_token(site.writer(), &Frozen(at), &mut SystemEntropy, &request, issued).unwrap() {
            Grant::Issued { .. } => None,
            Grant::Refused(refusal) => Some(refusal),
        }
    };
    let begin = site.now();
    let later = |seconds| begin + SignedDuration::from_secs(seconds);
    let retry_after =
        |seconds| Some(GrantRefusal::TooMany { retry_after: SignedDuration::from_secs(seconds) });
    let n = |site: &mut Site<E>, n| site.reader().read().unwrap().app_token_issued_at(app.id, n).unwrap();
    assert_eq!((n(site, 1), n(site, TOKENS_IN_WINDOW)), (None, None));

    for nth in 0..TOKENS_IN_WINDOW {
        let at = later(i64::from(nth) / 2);
        // What is refused takes nothing away from the app.
        assert_eq!(ask(site, &app, &others, None, at), Some(GrantRefusal::InvalidClient));
        assert!(matches!(ask(site, &app, &plain, Some("x"), at), Some(GrantRefusal::InvalidScope { .. })));
        assert_eq!(ask(site, &app, &plain, None, at), None, "{nth}");
    }
    assert_eq!((n(site, 1), n(site, TOKENS_IN_WINDOW)), (Some(later(29)), Some(begin)));
    let head = site.records(&AuditQuery::default()).len();
    assert_eq!(ask(site, &app, &plain, None, later(30)), retry_after(30));
    assert_eq!(ask(site, &app, &plain, None, later(59)), retry_after(1));
    assert_eq!(site.records(&AuditQuery::default()).len(), head, "nothing was written");
    assert_eq!(ask(site, &other, &others, None, later(59)), None, "another app is not held up");
    assert_eq!(ask(site, &app, &plain, None, later(60)), None);
    assert_eq!(ask(site, &app, &plain, None, later(60)), None, "two were issued at once");
    assert_eq!(ask(site, &app, &plain, None, later(60)), retry_after(1));
    // A clock that is put back holds nobody up for longer than it was wrong.
    assert_eq!(ask(site, &app, &plain, None, later(-3_600)), None);
}

// Checks.

pub(crate) fn a_check_finds_what_a_secret_belongs_to<E: Engine>(site: &mut Site<E>) {
    let owner = site.owner().clone();
    let token = UserToken {
        access: Access::Role(Some("incidents.read".parse().unwrap())),
        ..new_token(site, "T00000001", &owner)
    };
    add_token(site, &token, "of a token");
    let web = add_destination(site, "S00000001", "web");
    let integration = new_integration(site, "I00000001", &web);
    add_integration(site, &integration, "of an integration");
    let key = site.new_key("K00000001", "one");
    site.add_key(&key, "of a key");

    let known = |site: &mut Site<E>, plain: &str| match find(site, plain).result {
        LookupResult::Known(credential) => (*credential).clone(),
        other => panic!("{plain}: {other:?}"),
    };
    let found = known(site, "of a token");
    assert_eq!((found.kind, found.id, found.counted_as()), (CredentialKind::UserToken, token.id, owner.id));
    assert_eq!((found.access, found.owner.unwrap().role), (token.access, Role::Owner));
    let found = known(site, "of an integration");
    assert_eq!((found.kind, found.id), (CredentialKind::Integration, integration.id));
    assert_eq!(found.destination, Some(DestinationRef::from(&web)));
    let found = known(site, "of a key");
    assert_eq!((found.kind, found.id, found.access), (CredentialKind::General, key.id, Access::Full));
    assert!(matches!(find(site, "never issued").result, LookupResult::Unknown));
    site.remove_key(&key);
    assert!(
        matches!(find(site, "of a key").result, LookupResult::Dead(grave) if grave.death == Death::Removed)
    );
}

pub(crate) fn a_check_sees_at_once_what_another_connection_committed<E: Engine>(site: &mut Site<E>) {
    let owner = site.owner().clone();
    let token = new_token(site, "T00000001", &owner);
    let web = add_destination(site, "S00000001", "web");
    let mail = add_destination(site, "S00000002", "mail");
    let integration = new_integration(site, "I00000001", &web);
    let mut checker = site.engine.open();
    let digest = site.digest("first");
    let of_integration = site.digest("second");
    assert!(matches!(checker.find_credential(&digest).unwrap().result, LookupResult::Unknown));
    add_token(site, &token, "first");
    add_integration(site, &integration, "second");
    for _ in 0..2 {
        assert!(matches!(checker.find_credential(&digest).unwrap().result, LookupResult::Known(_)));
        assert!(matches!(checker.find_credential(&of_integration).unwrap().result, LookupResult::Known(_)));
    }
    let moved = Integration { destination: DestinationRef::from(&mail), ..integration.clone() };
    let change = Change::Update { before: integration, after: moved };
    save(site, Action::MoveIntegration, &change, SecretChange::Keep).unwrap();
    let LookupResult::Known(found) = checker.find_credential(&of_integration).unwrap().result else {
        panic!()
    };
    assert_eq!(found.destination, Some(DestinationRef::from(&mail)));

    let jim = site.new_user("U00000001", "jim");
    site.add_user(&jim);
    let renamed = User { name: name("ben"), ..jim.clone() };
    site.change_user(Action::EditUser, &Change::Update { before: jim, after: renamed }).unwrap();
    let remove = Change::Delete { before: token, reason: None };
    save(site, Action::RemoveUserToken, &remove, SecretChange::Keep).unwrap();
    assert!(matches!(checker.find_credential(&digest).unwrap().result, LookupResult::Dead(_)));
}

pub(crate) fn checks_are_counted_in_windows_of_sixty_seconds<E: Engine>(site: &mut Site<E>) {
    let key = site.new_key("K00000001", "one");
    site.add_key(&key, "first");
    let owner = site.owner().id;
    let began_at = site.now();
    let count = |site: &mut Site<E>, at: Timestamp, counted_as: Id| {
        let mut seen = None;
        let settle = &mut |window| {
            seen = Some(window);
            true
        };
        site.writer().count_check(key.id, counted_as, at, settle).unwrap();
        seen.unwrap()
    };
    assert_eq!(site.reader().peek_window(key.id).unwrap(), None);
    for number in 1..=3 {
        assert_eq!(count(site, began_at, key.id), Window { began_at, count: number });
    }
    let last = began_at + SignedDuration::from_millis(59_999);
    assert_eq!(count(site, last, key.id), Window { began_at, count: 4 });
    assert_eq!(site.reader().peek_window(key.id).unwrap(), Some(Window { began_at, count: 4 }));
    let next = began_at + Window::LENGTH;
    assert_eq!(count(site, next, key.id), Window { began_at: next, count: 1 });
    assert_eq!(count(site, next, owner), Window { began_at: next, count: 1 }, "counted by itself");
    // A clock that was set back opens a new window.
    let back = began_at - SignedDuration::from_secs(5);
    assert_eq!(count(site, back, key.id), Window { began_at: back, count: 1 });
    assert_eq!(site.key(key.id).unwrap().last_used_at, Some(next), "the latest, whatever was counted since");
}
