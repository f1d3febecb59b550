//! Where the files of a store are.

use std::path::{Path, PathBuf};

/// The files of one store: `NAME.db`, beside it `NAME.storekey` and `NAME.usage.db`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    database: PathBuf,
    store_key: PathBuf,
}

impl Place {
    /// The files beside a database.
    #[must_use]
    pub fn new(database: impl Into<PathBuf>) -> Self {
        let database = database.into();
        let store_key = database.with_extension("storekey");
        Self { database, store_key }
    }

    /// The same, with the store key kept somewhere else.
    #[must_use]
    pub fn with_store_key(self, store_key: impl Into<PathBuf>) -> Self {
        Self { store_key: store_key.into(), ..self }
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
        match self.database.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }
}
