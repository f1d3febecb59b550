//! An import as the audit trail has it: one record, however much came in.

use super::evidence::hexadecimal;
use crate::model::{Account, Audited, Noun};

/// What an import has brought into the account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// What the account is called.
    pub account: String,
    /// The SHA-256 of the file that it came from, once that was read to its end.
    pub sha256: Option<[u8; 32]>,
    /// How many general keys came in.
    pub general_keys: u64,
    /// How many user tokens.
    pub user_tokens: u64,
    /// How many integrations.
    pub integrations: u64,
    /// How many users.
    pub users: u64,
    /// How many lines were left out.
    pub skipped: u64,
}

impl Imported {
    /// How many things came in, whatever they are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.general_keys + self.user_tokens + self.integrations + self.users
    }
}

/// Records name it by the account.
impl Audited for Imported {
    fn noun(&self) -> Noun {
        Noun::Account
    }

    fn audit_id(&self) -> String {
        Account::AUDIT_ID.to_owned()
    }

    fn audit_summary(&self) -> String {
        self.account.clone()
    }

    fn audit_fields(&self) -> Vec<(&'static str, Option<String>)> {
        let counted = |count: u64| (count > 0).then(|| count.to_string());
        let sha256 = self.sha256.map(|bytes| hexadecimal(&bytes));
        vec![
            ("file_sha256", sha256),
            ("general_keys", counted(self.general_keys)),
            ("user_tokens", counted(self.user_tokens)),
            ("integrations", counted(self.integrations)),
            ("users", counted(self.users)),
            ("skipped_lines", counted(self.skipped)),
        ]
    }
}
