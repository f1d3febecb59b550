//! Where the files of a store are.

use std::path::{Path, PathBuf};

/// The files of one store: `NAME.db`, beside it `NAME.storekey` and `NAME.usage.db`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    database: PathBuf,
    store_key: PathBuf,
    opened_as: Option<u32>,
}

impl Place {
    /// The files beside a database.
    #[must_use]
    pub fn new(database: impl Into<PathBuf>) -> Self {
        let database = database.into();
        let store_key = database.with_extension("storekey");
        Self { database, store_key, opened_as: None }
    }

    /// The same, with the store key kept somewhere else.
    #[must_use]
    pub fn with_store_key(self, store_key: impl Into<PathBuf>) -> Self {
        Self { store_key: store_key.into(), ..self }
    }

    /// The same, opened by a process of this effective user, whom the caller asked the kernel for. A store or a
    /// directory that belongs neither to that user nor to root is refused then; root opens anybody's. Whoever does
    /// not say it takes the path as trusted.
    #[must_use]
    pub fn opened_as(self, uid: u32) -> Self {
        Self { opened_as: Some(uid), ..self }
    }

    /// Whether a file of an owner may be used.
    pub(super) fn trusts(&self, owner: u32) -> bool {
        const ROOT: u32 = 0;
        self.opened_as.is_none_or(|uid| [ROOT, owner].contains(&uid) || owner == ROOT)
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> &Path {
        &self.database
    }

    /// The file of the store key.
    #[must_use]
    pub fn store_key(&self) -> &Path {
        &self.store_key
    }

    /// The database of what was counted.
    #[must_use]
    pub fn usage(&self) -> PathBuf {
        self.database.with_extension("usage.db")
    }

    /// The directory of the database.
    #[must_use]
    pub fn directory(&self) -> &Path {
        directory_of(&self.database)
    }
}

/// The directory that a file is in.
pub(super) fn directory_of(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
