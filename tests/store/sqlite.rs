//! SQLite as an engine for the stories.

use pdkeys::manage::Founding;
use pdkeys::ports::{Clock, SystemEntropy};
use pdkeys::store::Place;
use pdkeys::store::sqlite::SqliteStore;
use rusqlite::{Connection, params};
use tempfile::TempDir;

use crate::site::{Engine, Forgery};

/// A store in a directory that goes with it.
pub(crate) struct Sqlite {
    place: Place,
    _directory: TempDir,
}

impl Engine for Sqlite {
    type Store = SqliteStore;

    fn found(founding: &Founding, clock: &dyn Clock) -> Self {
        let directory = TempDir::new().unwrap();
        let place = Place::new(directory.path().join("pdkeys.db"));
        founding.make_store::<SqliteStore>(&place, clock, &mut SystemEntropy).unwrap();
        Self { place, _directory: directory }
    }

    fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.place).unwrap()
    }

    fn forge(&self, forgery: &Forgery) {
        let connection = Connection::open(self.place.database()).unwrap();
        connection.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
        // A careful forger puts the triggers back.
        let mut triggers =
            connection.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").unwrap();
        let triggers: Vec<(String, String)> = triggers
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        for (name, _) in &triggers {
            connection.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
        }
        let changed = match forgery {
            Forgery::Alter { number, from, to } => connection.execute(
                "UPDATE audit SET record = replace(record, ?2, ?3) WHERE number = ?1 AND instr(record, ?2)",
                params![number, from, to],
            ),
            Forgery::LeaveOut { number } => {
                connection.execute("DELETE FROM audit WHERE number = ?1", [number])
            }
            Forgery::CutAfter { number } => {
                connection.execute("DELETE FROM audit WHERE number > ?1", [number])
            }
            Forgery::Widen { id } => connection.execute(
                "UPDATE general_key SET access = 'full', scopes = NULL WHERE id = ?1",
                [id.to_string()],
            ),
            Forgery::Exchange { id } => connection.execute(
                "UPDATE digest SET digest = randomblob(32)
                 WHERE kind = 'general' AND holder = (SELECT row FROM general_key WHERE id = ?1)",
                [id.to_string()],
            ),
            Forgery::TakeOut { id } => connection
                .execute(
                    "DELETE FROM digest
                     WHERE kind = 'general' AND holder = (SELECT row FROM general_key WHERE id = ?1)",
                    [id.to_string()],
                )
                .and_then(|_| connection.execute("DELETE FROM general_key WHERE id = ?1", [id.to_string()])),
            Forgery::Forget { id } => {
                connection.execute("DELETE FROM tombstone WHERE id = ?1", [id.to_string()])
            }
        };
        assert_ne!(changed.unwrap(), 0, "{forgery:?} forged nothing");
        for (_, sql) in &triggers {
            connection.execute_batch(sql).unwrap();
        }
    }
}

/// The same, over connections that look up keys from all over the store.
pub(crate) struct ForManyKeys(Sqlite);

impl Engine for ForManyKeys {
    type Store = SqliteStore;

    fn found(founding: &Founding, clock: &dyn Clock) -> Self {
        Self(Sqlite::found(founding, clock))
    }

    fn open(&self) -> SqliteStore {
        self.0.open().for_many_keys().unwrap()
    }

    fn forge(&self, forgery: &Forgery) {
        self.0.forge(forgery);
    }
}
