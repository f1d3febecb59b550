//! What can be wrong with the files of a store.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::store::{Difference, Store};

/// A store that can be looked at for what is wrong with it.
pub trait ExamineStore: Store {
    /// What is wrong with the files of the store, as far as it can be read at all.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn examine(&mut self) -> Result<Vec<Fault>>;
}

/// Something that is wrong with the files of a store, or ought to be known of them.
#[derive(Debug)]
pub enum Fault {
    /// Others can read it.
    Exposed {
        /// The file or the directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The database is damaged.
    Damaged(String),
    /// The audit chain breaks at the record of this number.
    BrokenChain(u64),
    /// The store does not hold what the audit trail says.
    Differs(Difference),
    /// So many more differences of that kind.
    DiffersFurther(u64),
    /// The store key cannot be used.
    StoreKey(Error),
    /// The file of what was counted cannot be used.
    UsageFile(Error),
    /// A run that was killed left it.
    LeftBehind(PathBuf),
    /// It is a store that a backup took the place of.
    Replaced(PathBuf),
}
