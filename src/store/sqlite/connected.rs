//! A connection to a file to which other threads of this process connect as well.
//!
//! Closing any handle of a file lets go of all the locks that the process has on it (POSIX would have it so). SQLite
//! knows, and keeps a handle for as long as another connection holds a lock; but one that has just been opened holds
//! none before it first reads, and can lose it to one that is just being closed. Another process then takes itself for
//! the last user of the store, and removes the write-ahead log under this one. So within a process, connections are
//! opened, up to their first read, and closed one at a time.

use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, PoisonError};

use rusqlite::Connection;

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

/// A connection, and what goes with it. Fields are dropped in their order.
#[derive(Debug)]
pub(super) struct Connected<With = ()> {
    _begins_turn: BeginsTurn,
    connection: Connection,
    with: With,
    _ends_turn: EndsTurn,
}

impl<With> Connected<With> {
    /// Opens a connection, which must have read something from its file by the time that it is given.
    pub(super) fn open(open: impl FnOnce() -> Result<(Connection, With)>) -> Result<Self> {
        take_turn();
        let ends_turn = EndsTurn;
        let (connection, with) = open()?;
        // This turn ends here; the other one, when the connection is closed.
        drop(ends_turn);
        Ok(Self { _begins_turn: BeginsTurn, connection, with, _ends_turn: EndsTurn })
    }

    /// What goes with the connection.
    pub(super) fn with(&self) -> &With {
        &self.with
    }
}

impl<With> Deref for Connected<With> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl<With> DerefMut for Connected<With> {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}
