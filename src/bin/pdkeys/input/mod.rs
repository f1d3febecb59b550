//! What commands read: credentials, lines, rows of imported files, and what `scan` searches.

pub(crate) mod credential;
pub(crate) mod git;
pub(crate) mod lines;
mod records;
pub(crate) mod rows;
pub(crate) mod sources;
