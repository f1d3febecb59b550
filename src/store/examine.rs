//! Faults in the files of a store.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::store::{Difference, Store};

/// A store whose files can be examined for faults.
pub trait ExamineStore: Store {
    /// Returns the faults found in the files of the store.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn examine(&mut self) -> Result<Vec<Fault>>;
}

/// A fault in the files of a store, or a fact about them that an operator should know.
#[derive(Debug)]
pub enum Fault {
    /// Other users can read a file or directory of the store.
    Exposed {
        /// The file or the directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The database is damaged.
    Damaged(String),
    /// The audit chain breaks at this record number.
    BrokenChain(u64),
    /// The store differs from its audit trail.
    Differs(Difference),
    /// The number of further differences, which are not listed.
    DiffersFurther(u64),
    /// The store key cannot be used.
    StoreKey(Error),
    /// The usage file cannot be used.
    UsageFile(Error),
    /// A temporary file that a killed process left behind.
    LeftBehind(PathBuf),
    /// The copy of a store that was replaced by a backup.
    Replaced(PathBuf),
}
