//! The summary of an import, which is the content of its single audit record.

use super::evidence::hexadecimal;
use crate::model::{Account, Audited, Noun};

/// The number of entries that an import added to the account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// The name of the account.
    pub account: String,
    /// The SHA-256 of the imported file; `None` until it has been read to the end.
    pub sha256: Option<[u8; 32]>,
    /// The number of general keys.
    pub general_keys: u64,
    /// The number of user tokens.
    pub user_tokens: u64,
    /// The number of integrations.
    pub integrations: u64,
    /// The number of users.
    pub users: u64,
    /// The number of lines that were skipped.
    pub skipped: u64,
}

impl Imported {
    /// Returns the total number of imported entries.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.general_keys + self.user_tokens + self.integrations + self.users
    }
}

/// Audit records show an import as a change of the account.
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
        let nonzero = |count: u64| (count > 0).then(|| count.to_string());
        let sha256 = self.sha256.map(|bytes| hexadecimal(&bytes));
        vec![
            ("file_sha256", sha256),
            ("general_keys", nonzero(self.general_keys)),
            ("user_tokens", nonzero(self.user_tokens)),
            ("integrations", nonzero(self.integrations)),
            ("users", nonzero(self.users)),
            ("skipped_lines", nonzero(self.skipped)),
        ]
    }
}
