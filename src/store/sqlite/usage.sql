-- What was counted. A file of its own: checks write here, and never wait for management.

CREATE TABLE IF NOT EXISTS last_used (
    id TEXT PRIMARY KEY,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The rate limits of checks that run in a process each; whatever lives longer counts in memory.
CREATE TABLE IF NOT EXISTS window (
    id TEXT PRIMARY KEY,
    began_at INTEGER NOT NULL,
    count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS hourly (
    id TEXT NOT NULL,
    hour INTEGER NOT NULL, -- hours since 1970
    allowed INTEGER NOT NULL,
    denied INTEGER NOT NULL,
    PRIMARY KEY (id, hour)
) STRICT, WITHOUT ROWID;

-- The tables are all there.
PRAGMA user_version = 1;
