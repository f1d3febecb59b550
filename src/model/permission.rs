//! Who may manage what: the whole table, the one function that reads it, and the receipt that it gives.
//!
//! Every changing call of the store wants a [`Permit`], and only this file can make one. A permit says who may do
//! what to which thing, and the audit record is written from it; it is used up by the change, and refuses any
//! other. A forgotten check does not compile.

use std::fmt;

use jiff::Timestamp;

use crate::error::{Conflict, ErrorKind, Result};
use crate::model::audit::{Details, ExecutionContext, Method};
use crate::model::{
    Actor, App, AuditAction, AuditRecord, Audited, Change, Hint, Id, Name, Noun, Resource, Role, ScopeSet,
    SecretChange, User,
};

/// What the table says of one role and one action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Yes.
    Y,
    /// No.
    N,
    /// Only for what belongs to oneself, or is oneself.
    Own,
    /// Own, and that of others who are neither owner nor admin.
    Junior,
    /// Anybody but the owner, and no role above admin may come of it.
    Below,
    /// If the role holds every scope in question.
    Holds,
    /// Yes, but user tokens may not be among it.
    NoTokens,
}

macro_rules! actions {
    ($($name:ident => $noun:ident $effect:ident $text:literal,)*) => {
        /// Everything that a user can want to do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the names say it, and each has its words in `Display`")]
        pub enum Action { $($name,)* }

        impl Action {
            /// Every action, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// What it is done to, and which change it makes, if it makes one.
            const fn effect(self) -> (Noun, Option<AuditAction>) {
                use AuditAction::{Create, Delete, Update};
                const READS: Option<AuditAction> = None;
                const CREATES: Option<AuditAction> = Some(Create);
                const UPDATES: Option<AuditAction> = Some(Update);
                const DELETES: Option<AuditAction> = Some(Delete);
                match self { $(Self::$name => (Noun::$noun, $effect),)* }
            }

            /// The variant's name, as the permission grid prints it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }

        /// The action as it stands after "may not".
        impl fmt::Display for Action {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$name => $text,)* })
            }
        }
    };
}

actions! {
    CreateGeneralKey => GeneralKey CREATES "create keys",
    DisableGeneralKey => GeneralKey UPDATES "disable keys",
    EnableGeneralKey => GeneralKey UPDATES "enable keys",
    EditGeneralKey => GeneralKey UPDATES "edit keys",
    RotateGeneralKey => GeneralKey UPDATES "rotate keys",
    RemoveGeneralKey => GeneralKey DELETES "remove keys",
    ListGeneralKeys => GeneralKey READS "list keys",
    ShowGeneralKey => GeneralKey READS "show keys",
    CreateUserToken => UserToken CREATES "create tokens",
    ListUserTokens => UserToken READS "list tokens",
    ShowUserToken => UserToken READS "show tokens",
    RotateUserToken => UserToken UPDATES "rotate tokens",
    EditUserToken => UserToken UPDATES "edit tokens",
    RemoveUserToken => UserToken DELETES "remove tokens",
    CreateService => Service CREATES "create services",
    EditService => Service UPDATES "edit services",
    RemoveService => Service DELETES "remove services",
    ListServices => Service READS "list services",
    ShowService => Service READS "show services",
    CreateOrchestration => Orchestration CREATES "create orchestrations",
    EditOrchestration => Orchestration UPDATES "edit orchestrations",
    RemoveOrchestration => Orchestration DELETES "remove orchestrations",
    ListOrchestrations => Orchestration READS "list orchestrations",
    ShowOrchestration => Orchestration READS "show orchestrations",
    ListIntegrations => Integration READS "list integrations",
    ShowIntegration => Integration READS "show integrations",
    CreateIntegration => Integration CREATES "create integrations",
    MoveIntegration => Integration UPDATES "move integrations",
    RemoveIntegration => Integration DELETES "remove integrations",
    ShowIntegrationKey => Integration READS "see integration keys",
    ListApps => App READS "list apps",
    ShowApp => App READS "show apps",
    RegisterApp => App CREATES "register apps",
    EditApp => App UPDATES "edit apps",
    RotateApp => App UPDATES "rotate the secrets of apps",
    RemoveApp => App DELETES "remove apps",
    IssueAppToken => AppToken CREATES "issue app tokens",
    RevokeAppToken => AppToken DELETES "revoke a single app token",
    ListUsers => User READS "list users",
    ShowUser => User READS "show users",
    AddUser => User CREATES "add users",
    EditUser => User UPDATES "edit users",
    SetUserRole => User UPDATES "set the roles of users",
    RemoveUser => User UPDATES "remove users",
    ShowAccount => Account READS "see the account",
    ChangeAccount => Account UPDATES "change the account's settings",
    TransferAccount => Account UPDATES "transfer the account",
    FoundAccount => Account CREATES "found an account",
    ActAsUser => Account READS "act as somebody else",
    SeeUsage => Account READS "see usage",
    SeeIntegrationUsage => Integration READS "see the usage of integrations",
    ReadAudit => Account READS "read the audit trail",
    VerifyAudit => Account READS "verify the audit trail",
    RunDoctor => Account READS "run the doctor",
    BackUp => Account READS "back up the store",
    Export => Account READS "export",
    Import => Account UPDATES "import",
    Restore => Account UPDATES "restore the store",
}

impl Action {
    /// The table. Its columns are the roles in the order of [`Role::ALL`].
    #[rustfmt::skip]
    #[expect(clippy::match_same_arms, reason = "an arm is a row of the table, and rows may be alike")]
    const fn rules(self) -> [Rule; Role::ALL.len()] {
        use Rule::{Below, Holds, Junior, N, NoTokens, Own, Y};
        match self {
            //                            owner   admin     user   limited_ obser-  restri- read_only_ read_only_
            //                                             (Manager)  user   ver     cted      user  limited_user
            Self::CreateGeneralKey
            | Self::DisableGeneralKey
            | Self::EnableGeneralKey
            | Self::EditGeneralKey
            | Self::RotateGeneralKey
            | Self::RemoveGeneralKey
            | Self::ListGeneralKeys
            | Self::ShowGeneralKey     => [Y,      Y,        N,      N,      N,      N,      N,      N],

            Self::CreateUserToken      => [Own,    Own,      Own,    Own,    Own,    Own,    Own,    N],
            Self::ListUserTokens
            | Self::ShowUserToken      => [Y,      Y,        Own,    Own,    Own,    Own,    Own,    Own],
            Self::RotateUserToken
            | Self::EditUserToken      => [Own,    Own,      Own,    Own,    Own,    Own,    Own,    Own],
            Self::RemoveUserToken      => [Junior, Junior,   Own,    Own,    Own,    Own,    Own,    Own],

            Self::CreateService
            | Self::EditService
            | Self::RemoveService
            | Self::CreateOrchestration
            | Self::EditOrchestration
            | Self::RemoveOrchestration
            | Self::CreateIntegration
            | Self::MoveIntegration
            | Self::RemoveIntegration
            | Self::ShowIntegrationKey => [Y,      Y,        Y,      N,      N,      N,      N,      N],
            Self::ListServices
            | Self::ShowService
            | Self::ListOrchestrations
            | Self::ShowOrchestration
            | Self::ListIntegrations
            | Self::ShowIntegration    => [Y,      Y,        Y,      Y,      Y,      N,      Y,      N],

            Self::ListApps
            | Self::ShowApp
            | Self::RegisterApp
            | Self::EditApp
            | Self::RotateApp
            | Self::RemoveApp
            | Self::IssueAppToken      => [Y,      Y,        Holds,  N,      N,      N,      N,      N],

            Self::ListUsers
            | Self::ShowUser           => [Y,      Y,        Y,      Y,      Y,      Own,    Y,      Own],
            Self::AddUser
            | Self::EditUser
            | Self::SetUserRole
            | Self::RemoveUser         => [Y,      Below,    N,      N,      N,      N,      N,      N],

            Self::ShowAccount          => [Y,      Y,        Y,      Y,      Y,      Y,      Y,      Y],
            Self::ChangeAccount
            | Self::TransferAccount
            | Self::ActAsUser          => [Y,      N,        N,      N,      N,      N,      N,      N],

            Self::SeeUsage             => [Y,      Y,        Own,    Own,    Own,    Own,    Own,    Own],
            Self::SeeIntegrationUsage  => [Y,      Y,        Y,      N,      N,      N,      N,      N],
            Self::ReadAudit
            | Self::VerifyAudit
            | Self::RunDoctor
            | Self::BackUp
            | Self::Export             => [Y,      Y,        N,      N,      N,      N,      N,      N],
            Self::Import               => [Y,      NoTokens, N,      N,      N,      N,      N,      N],
            // Nobody who is here already: only the founding itself, which has a permit of its own. Nor a single app
            // token: only who holds it, who has one too.
            Self::FoundAccount
            | Self::RevokeAppToken     => [N,      N,        N,      N,      N,      N,      N,      N],
            Self::Restore              => [Y,      N,        N,      N,      N,      N,      N,      N],
        }
    }

    /// The fields that the action may change of what is there already.
    const fn touches(self) -> &'static [&'static str] {
        match self {
            Self::DisableGeneralKey | Self::EnableGeneralKey => &["disabled", "disabled_reason"],
            Self::EditGeneralKey => &["description", "access", "scopes", "expires_at", "rate_limit"],
            Self::EditUserToken => &["description", "scopes", "expires_at"],
            Self::RotateGeneralKey | Self::RotateUserToken | Self::RotateApp => &["hint", "overlap_ends_at"],
            Self::EditService | Self::EditOrchestration => &["name", "description"],
            Self::MoveIntegration => &["service", "orchestration"],
            Self::EditApp => &["name", "description", "scopes", "rate_limit", "tokens_revoked_at"],
            Self::EditUser => &["name", "email", "os_uid", "external_id", "rate_limit"],
            Self::SetUserRole => &["name", "email", "os_uid", "external_id", "rate_limit", "role"],
            Self::RemoveUser => &["left_at", "left_reason"],
            Self::ChangeAccount => &["name", "policy", "subdomain", "rest_api", "advanced_permissions"],
            Self::TransferAccount => &["owner"],
            Self::Import => {
                &["file_sha256", "general_keys", "user_tokens", "integrations", "users", "skipped_lines"]
            }
            Self::Restore => &["restored", "replaced"],
            _ => &[],
        }
    }

    /// Whether the action may do this to the secrets of its target.
    const fn covers_secrets(self, change: SecretChange) -> bool {
        match change {
            SecretChange::Keep => true,
            SecretChange::Issue(_) => matches!(self.effect().1, Some(AuditAction::Create)),
            SecretChange::Rotate { .. } | SecretChange::EndOverlap => {
                matches!(self, Self::RotateGeneralKey | Self::RotateUserToken | Self::RotateApp)
            }
        }
    }

    const fn rule(self, role: Role) -> Rule {
        self.rules()[role as usize]
    }
}

/// What an action is to be done to, as far as the table asks about it.
#[derive(Clone, Debug)]
pub struct Target {
    resource: Resource,
    owner: Option<(Id, Role)>,
    grants: Option<Role>,
    scopes: Option<ScopeSet>,
    brings_user_tokens: bool,
    /// Whether it is any of a noun's things, asked about before one of them is looked at. What is not known of a
    /// particular thing denies; of any of them, it is not asked yet.
    any: bool,
}

impl Target {
    /// Something that belongs to nobody but the account.
    #[must_use]
    pub fn of<T: Audited>(thing: &T) -> Self {
        Self {
            resource: thing.resource(),
            owner: None,
            grants: None,
            scopes: None,
            brings_user_tokens: false,
            any: false,
        }
    }

    /// All things of a noun together, as for a list.
    #[must_use]
    pub fn all(noun: Noun) -> Self {
        let resource = Resource {
            id: String::new(),
            kind: noun.resource_type().to_owned(),
            summary: format!("every {noun}"),
        };
        Self { resource, owner: None, grants: None, scopes: None, brings_user_tokens: false, any: true }
    }

    /// The same, belonging to a user or being one.
    #[must_use]
    pub fn belonging_to(self, user: &User) -> Self {
        Self { owner: Some((user.id, user.role)), ..self }
    }

    /// The same, with a role that somebody gets by it.
    #[must_use]
    pub fn granting(self, role: Role) -> Self {
        Self { grants: Some(role), ..self }
    }

    /// The same, with scopes that somebody gets by it.
    #[must_use]
    pub fn with_scopes(self, scopes: &ScopeSet) -> Self {
        Self { scopes: Some(scopes.clone()), ..self }
    }

    /// The same, bringing user tokens into the account.
    #[must_use]
    pub fn bringing_user_tokens(self) -> Self {
        Self { brings_user_tokens: true, ..self }
    }
}

/// On whose behalf something is done: when, how it is known, and in which run.
#[derive(Clone, Debug)]
pub struct Acting {
    user: User,
    owner: Option<User>,
    method: Method,
    request_id: String,
    at: Timestamp,
}

impl Acting {
    /// A user known to the operating system.
    #[must_use]
    pub fn os_user(user: User, request_id: String, at: Timestamp) -> Self {
        let method = Method { kind: "os_user".to_owned(), truncated_token: None };
        Self { user, owner: None, method, request_id, at }
    }

    /// The owner of a user token.
    #[must_use]
    pub fn api_token(user: User, hint: Option<&Hint>, request_id: String, at: Timestamp) -> Self {
        let truncated_token = hint.map(|hint| hint.as_str().to_owned());
        let method = Method { kind: "api_token".to_owned(), truncated_token };
        Self { user, owner: None, method, request_id, at }
    }

    /// The same run on behalf of somebody else.
    ///
    /// # Errors
    /// If the acting user is not the Account Owner.
    pub fn on_behalf_of(self, other: User) -> Result<Self> {
        require(&self, Action::ActAsUser, &Target::all(Noun::Account))?;
        Ok(Self { user: other, owner: Some(self.user), ..self })
    }

    /// The acting user.
    #[must_use]
    pub fn user(&self) -> &User {
        &self.user
    }

    /// The Account Owner, where the owner acts as somebody else.
    #[must_use]
    pub fn owner(&self) -> Option<&User> {
        self.owner.as_ref()
    }

    /// By what the acting user is known.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// When.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }
}

/// What the table says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may be done.
    Allowed,
    /// It may not; with what stood in the way, where the role alone does not say it.
    Denied(Option<String>),
}

/// Reads the table for a user, an action and a target.
#[must_use]
pub fn decide(user: &User, action: Action, target: &Target) -> Decision {
    let denied = |why: &str| Decision::Denied(Some(why.to_owned()));
    let own = target.owner.is_some_and(|(id, _)| id == user.id);
    match action.rule(user.role) {
        Rule::N => Decision::Denied(None),
        Rule::Own if own => Decision::Allowed,
        Rule::Own => denied("only their own"),
        Rule::Junior if own || target.owner.is_some_and(|(_, role)| !role.is_senior()) => Decision::Allowed,
        Rule::Junior => denied("not those of the owner or an admin"),
        Rule::Below if target.owner.is_some_and(|(_, role)| role == Role::Owner) => {
            denied("not the Account Owner")
        }
        Rule::Below if target.grants == Some(Role::Owner) => denied("not to a role above admin"),
        Rule::Below if target.owner.is_none() && target.grants.is_none() && !target.any => {
            denied("not knowing whom it is about")
        }
        Rule::Holds if target.scopes.is_none() && !target.any => denied("not knowing its scopes"),
        Rule::Holds => {
            let lacking = target.scopes.iter().flat_map(ScopeSet::iter).find(|scope| !user.role.holds(scope));
            lacking.map_or(Decision::Allowed, |scope| {
                Decision::Denied(Some(format!("the role does not hold {scope}")))
            })
        }
        Rule::NoTokens if target.brings_user_tokens => denied("not user tokens"),
        Rule::Y | Rule::Below | Rule::NoTokens => Decision::Allowed,
    }
}

/// Asks whether the acting user may do it, and gives the receipt.
///
/// # Errors
/// [`ErrorKind::NotPermitted`] if not.
pub fn authorize(acting: &Acting, action: Action, target: &Target) -> Result<Permit> {
    match decide(&acting.user, action, target) {
        Decision::Allowed => {
            let mut actors = vec![acting.user.resource()];
            actors.extend(acting.owner.as_ref().map(Audited::resource));
            Ok(Permit {
                action,
                target: target.resource.id.clone(),
                actors,
                method: acting.method.clone(),
                request_id: acting.request_id.clone(),
                at: acting.at,
            })
        }
        Decision::Denied(limit) => Err(ErrorKind::NotPermitted {
            actor: acting.user.name.to_string(),
            role: acting.user.role,
            action,
            limit,
        }
        .into()),
    }
}

/// Asks whether the acting user may do it, where no change follows.
///
/// # Errors
/// [`ErrorKind::NotPermitted`] if not.
pub fn require(acting: &Acting, action: Action, target: &Target) -> Result<()> {
    authorize(acting, action, target).map(drop)
}

/// The receipt for one permitted action on one target. The store uses it up with the change.
#[derive(Debug)]
#[must_use = "a permit is there to be used up by a change of the store"]
pub struct Permit {
    action: Action,
    target: String,
    actors: Vec<Actor>,
    method: Method,
    request_id: String,
    at: Timestamp,
}

impl Permit {
    /// The founding of an account, by the operating-system user who becomes its owner. There is nobody to ask yet.
    pub(crate) fn founder<T: Audited>(owner: &User, founded: &T, request_id: &str, at: Timestamp) -> Self {
        let action = if founded.noun() == Noun::Account { Action::FoundAccount } else { Action::AddUser };
        Self {
            action,
            target: founded.audit_id(),
            actors: vec![owner.resource()],
            method: Method { kind: "os_user".to_owned(), truncated_token: None },
            request_id: request_id.to_owned(),
            at,
        }
    }

    /// The issuing of a token to an app, for whoever has proved to hold its client secret. No user is asked: the app
    /// acts for itself.
    pub(crate) fn client(app: &App, secret: &Hint, request_id: &str, at: Timestamp) -> Self {
        Self::holder(Action::IssueAppToken, app, secret, request_id, at)
    }

    /// Whatever the action does to what a secret belongs to, for whoever has proved to hold the secret. No user is
    /// asked: who could use it for anything may also put an end to it.
    pub(crate) fn holder<T: Audited>(
        action: Action,
        held: &T,
        secret: &Hint,
        request_id: &str,
        at: Timestamp,
    ) -> Self {
        Self {
            action,
            target: held.audit_id(),
            actors: vec![held.resource()],
            method: Method { kind: "holder".to_owned(), truncated_token: Some(secret.as_str().to_owned()) },
            request_id: request_id.to_owned(),
            at,
        }
    }

    /// The restoring of a backup where there is no store that could be asked, by an operating-system user who can
    /// write the files. If the restored account knows that user, the record names the one.
    pub(crate) fn restorer(
        uid: u32,
        user: Option<&User>,
        account: &impl Audited,
        request_id: &str,
        at: Timestamp,
    ) -> Self {
        let unknown = || Resource {
            id: uid.to_string(),
            kind: "os_user".to_owned(),
            summary: format!("operating-system user {uid}"),
        };
        Self {
            action: Action::Restore,
            target: account.audit_id(),
            actors: vec![user.map_or_else(unknown, Audited::resource)],
            method: Method { kind: "os_user".to_owned(), truncated_token: None },
            request_id: request_id.to_owned(),
            at,
        }
    }

    /// When it was given, which is when the change is made.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Uses the permit up for a change and what it does to the secrets, and gives the record of it.
    ///
    /// # Errors
    /// If the change is another than the one permitted: to something else, of another kind, of other fields, or of
    /// the secrets where that was not asked.
    pub fn record<T: Audited>(
        self,
        change: &Change<T>,
        secrets: SecretChange,
        number: u64,
    ) -> Result<AuditRecord> {
        let root_resource = change.subject().resource();
        let fields = change.fields();
        let (noun, effect) = self.action.effect();
        let covers = (noun, effect, &self.target)
            == (change.subject().noun(), Some(change.action()), &root_resource.id)
            && self.action.covers_secrets(secrets)
            && (change.action() != AuditAction::Update
                || fields.iter().all(|field| self.action.touches().contains(&field.name.as_str())));
        if !covers {
            return Err(Conflict::Fault(format!(
                "a permit to {} {} does not cover this change of {} {}",
                self.action,
                self.target,
                change.subject().noun(),
                root_resource.id
            ))
            .into());
        }
        Ok(AuditRecord {
            id: number,
            execution_time: self.at,
            execution_context: ExecutionContext { request_id: self.request_id, remote_address: None },
            actors: self.actors,
            method: self.method,
            root_resource,
            action: change.action(),
            details: Details { fields, evidence: None },
        })
    }
}

/// How a record of the past names the acting user.
impl From<&Acting> for super::UserRef {
    fn from(acting: &Acting) -> Self {
        Self { id: acting.user.id, name: Name::clone(&acting.user.name) }
    }
}
