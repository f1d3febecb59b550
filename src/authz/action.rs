//! The management actions: what each one targets, which change it makes, and what it may touch.

use std::fmt;

use crate::model::{AuditAction, Noun, SecretChange};

macro_rules! actions {
    ($($name:ident => $noun:ident $effect:ident $text:literal,)*) => {
        /// A management action that the permission table decides on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the names are the documentation, and `Display` spells each one out")]
        pub enum Action { $($name,)* }

        impl Action {
            /// Every action, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the noun that the action targets, and the change that it makes; `None` if it only reads.
            pub(super) const fn effect(self) -> (Noun, Option<AuditAction>) {
                use AuditAction::{Create, Delete, Update};
                const READS: Option<AuditAction> = None;
                const CREATES: Option<AuditAction> = Some(Create);
                const UPDATES: Option<AuditAction> = Some(Update);
                const DELETES: Option<AuditAction> = Some(Delete);
                match self { $(Self::$name => (Noun::$noun, $effect),)* }
            }

            /// Returns the variant's name, as the permission grid prints it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }

        /// Writes the words that follow "may not" in messages.
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
    ActAsUser => Account READS "act as another user",
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
    /// Lists the fields that an updating action may change.
    pub(super) const fn touches(self) -> &'static [&'static str] {
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

    /// Returns true if the action may make this change to the secrets of its target.
    pub(super) const fn covers_secrets(self, change: SecretChange) -> bool {
        match change {
            SecretChange::Keep => true,
            SecretChange::Issue(_) => matches!(self.effect().1, Some(AuditAction::Create)),
            SecretChange::Rotate { .. } | SecretChange::EndOverlap => {
                matches!(self, Self::RotateGeneralKey | Self::RotateUserToken | Self::RotateApp)
            }
        }
    }
}
