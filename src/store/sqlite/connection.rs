//! A connection to a database that other threads of this process may also be connected to.
//!
//! POSIX releases all locks that a process holds on a file when it closes any handle of that file. SQLite accounts for
//! this, and defers closing a handle while another connection of the process holds a lock. A connection that was just
//! opened holds no lock before its first read, however, and can lose the one it acquires then to a concurrent close.
//! Another process then concludes that it is the last user of the store, and removes the write-ahead log that this
//! process still uses. Within a process, connections are therefore opened, including their first read, and closed one
//! at a time.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::watch::Watch;
use crate::error::Result;

/// Whether a thread is opening or closing a connection. This is a flag and not a mutex guard, because a turn to close
/// begins before the fields of [`WatchedConnection`] are dropped and ends after that.
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

/// A connection together with the [`Watch`] of its files. The fields are dropped in this order.
#[derive(Debug)]
pub(super) struct WatchedConnection {
    _begins_turn: BeginsTurn,
    connection: Connection,
    watch: Watch,
    _ends_turn: EndsTurn,
}

impl WatchedConnection {
    /// Opens a connection to a database in write-ahead mode. `open` must read from it before it returns.
    ///
    /// # Errors
    /// If it cannot be opened, or its files are not the ones found under their names.
    pub(super) fn open(database: &Path, open: impl FnOnce(&Watch) -> Result<Connection>) -> Result<Self> {
        take_turn();
        let ends_turn = EndsTurn;
        let watch = Watch::begin(database)?;
        let connection = open(&watch)?;
        if let Err(displaced) = watch.settle() {
            leave_log(&connection);
            return Err(displaced);
        }
        // Ends the turn to open. The turn to close begins when the connection is dropped.
        drop(ends_turn);
        Ok(Self { _begins_turn: BeginsTurn, connection, watch, _ends_turn: EndsTurn })
    }

    /// Returns the watch of its files.
    pub(super) fn watch(&self) -> &Watch {
        &self.watch
    }
}

/// Prevents a connection from writing the log back when it is closed.
fn leave_log(connection: &Connection) {
    // This cannot fail for an open connection.
    let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
}

impl Drop for WatchedConnection {
    fn drop(&mut self) {
        // A displaced log may be older than what other processes have written to the database since.
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
