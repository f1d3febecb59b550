//! A connection to a file to which other threads of this process connect as well.
//!
//! Closing any handle of a file lets go of all the locks that the process has on it (POSIX would have it so). SQLite
//! knows, and keeps a handle for as long as another connection holds a lock; but one that has just been opened holds
//! none before it first reads, and can lose it to one that is just being closed. Another process then takes itself for
//! the last user of the store, and removes the write-ahead log under this one. So within a process, connections are
//! opened, up to their first read, and closed one at a time.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::watch::Watch;
use crate::error::Result;

/// Whether somebody opens or closes a connection. No guard of a mutex, since closing ends in another place than it
/// begins: before and behind the fields of what is dropped.
static TAKEN: Mutex<bool> = Mutex::new(false);
static FREE: Condvar = Condvar::new();

fn take_turn() {
    let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    *FREE.wait_while(taken, |taken| *taken).unwrap_or_else(PoisonError::into_inner) = true;
}

/// Ends a turn when it is dropped.
#[derive(Debug)]
struct EndsTurn;

impl Drop for EndsTurn {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) = false;
        FREE.notify_one();
    }
}

/// Begins a turn when it is dropped.
#[derive(Debug)]
struct BeginsTurn;

impl Drop for BeginsTurn {
    fn drop(&mut self) {
        take_turn();
    }
}

/// A connection, and what is known of its files. Fields are dropped in their order.
#[derive(Debug)]
pub(super) struct WatchedConnection {
    _begins_turn: BeginsTurn,
    connection: Connection,
    watch: Watch,
    _ends_turn: EndsTurn,
}

impl WatchedConnection {
    /// Opens a connection to a database in write-ahead mode, by a function that must have read something from it by
    /// the time that it returns.
    ///
    /// # Errors
    /// If it cannot be opened, or others do not find the files that it uses.
    pub(super) fn open(database: &Path, open: impl FnOnce(&Watch) -> Result<Connection>) -> Result<Self> {
        take_turn();
        let ends_turn = EndsTurn;
        let watch = Watch::begin(database)?;
        let connection = open(&watch)?;
        if let Err(displaced) = watch.settle() {
            leave_log(&connection);
            return Err(displaced);
        }
        // This turn ends here; the other one, when the connection is closed.
        drop(ends_turn);
        Ok(Self { _begins_turn: BeginsTurn, connection, watch, _ends_turn: EndsTurn })
    }

    /// What is known of its files.
    pub(super) fn watch(&self) -> &Watch {
        &self.watch
    }
}

/// Keeps a connection from writing the log back when it is closed.
fn leave_log(connection: &Connection) {
    // SQLite refuses it to no connection that is open.
    let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
}

impl Drop for WatchedConnection {
    fn drop(&mut self) {
        // A log that others do not find may be older than what they have written to the database since.
        if self.watch.look().is_err() {
            leave_log(&self.connection);
        }
    }
}

impl Deref for WatchedConnection {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for WatchedConnection {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}
