-- Usage counts. They are in a separate file, so that checks never wait for management commands.

-- When each credential was last used, and how often in that hour. There are two tables with the same columns: a small
-- one that is written at every check or flush, and a large one that its rows are moved to in bulk when it is full. So
-- each page of the large table is written once for many rows.
CREATE TABLE IF NOT EXISTS recent (
    id TEXT PRIMARY KEY,
    at INTEGER NOT NULL,
    hour INTEGER NOT NULL, -- hours since 1970
    allowed INTEGER NOT NULL,
    denied INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS last_used (
    id TEXT PRIMARY KEY,
    at INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    allowed INTEGER NOT NULL,
    denied INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The earlier hours of each credential. Ordered by hour first, so that outdated rows are adjacent.
CREATE TABLE IF NOT EXISTS past (
    hour INTEGER NOT NULL,
    id TEXT NOT NULL,
    allowed INTEGER NOT NULL,
    denied INTEGER NOT NULL,
    PRIMARY KEY (hour, id)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER IF NOT EXISTS a_recent_hour_is_over AFTER UPDATE OF hour ON recent WHEN OLD.hour < NEW.hour
BEGIN
    INSERT INTO past (hour, id, allowed, denied) VALUES (OLD.hour, OLD.id, OLD.allowed, OLD.denied)
    ON CONFLICT (hour, id) DO UPDATE SET allowed = allowed + excluded.allowed, denied = denied + excluded.denied;
END;

CREATE TRIGGER IF NOT EXISTS an_hour_is_over AFTER UPDATE OF hour ON last_used WHEN OLD.hour < NEW.hour
BEGIN
    INSERT INTO past (hour, id, allowed, denied) VALUES (OLD.hour, OLD.id, OLD.allowed, OLD.denied)
    ON CONFLICT (hour, id) DO UPDATE SET allowed = allowed + excluded.allowed, denied = denied + excluded.denied;
END;

-- The counts of an hour of a credential can be spread over several rows.
DROP VIEW IF EXISTS hourly;
CREATE VIEW hourly AS
    SELECT id, hour, allowed, denied FROM recent
    UNION ALL
    SELECT id, hour, allowed, denied FROM last_used
    UNION ALL
    SELECT id, hour, allowed, denied FROM past;

-- The rate-limit windows of checks that each run in a process of their own. Longer-lived processes count in memory.
CREATE TABLE IF NOT EXISTS window (
    id TEXT PRIMARY KEY,
    began_at INTEGER NOT NULL,
    count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The last day on which outdated rows were removed.
CREATE TABLE IF NOT EXISTS swept (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    day INTEGER NOT NULL -- days since 1970
) STRICT;

PRAGMA user_version = 1;
