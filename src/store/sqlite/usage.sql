-- What was counted. A file of its own: checks write here, and never wait for management.

-- When each credential was last used, and how often in the hour of that. In two tables, a small one that is written at
-- every check or second, and one that takes over what is in it when it is no longer small: so neighbours are written
-- together, and a page of the large one once for many of its rows.
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

-- The hours before that one. By hour first: what is too old to keep lies together.
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

-- An hour of a credential can be in more than one row.
DROP VIEW IF EXISTS hourly;
CREATE VIEW hourly AS
    SELECT id, hour, allowed, denied FROM recent
    UNION ALL
    SELECT id, hour, allowed, denied FROM last_used
    UNION ALL
    SELECT id, hour, allowed, denied FROM past;

-- The rate limits of checks that run in a process each; whatever lives longer counts in memory.
CREATE TABLE IF NOT EXISTS window (
    id TEXT PRIMARY KEY,
    began_at INTEGER NOT NULL,
    count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The last day on which what is too old was thrown away.
CREATE TABLE IF NOT EXISTS swept (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    day INTEGER NOT NULL -- days since 1970
) STRICT;

PRAGMA user_version = 1;
