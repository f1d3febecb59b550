-- What was counted. A file of its own: checks write here, and never wait for management.

-- When each credential was last used, and how often in the hour of that: one row to write for what is counted again
-- and again.
CREATE TABLE last_used (
    id TEXT PRIMARY KEY,
    at INTEGER NOT NULL,
    hour INTEGER NOT NULL, -- hours since 1970
    allowed INTEGER NOT NULL,
    denied INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The hours before that one. By hour first: what is too old to keep lies together.
CREATE TABLE past (
    hour INTEGER NOT NULL,
    id TEXT NOT NULL,
    allowed INTEGER NOT NULL,
    denied INTEGER NOT NULL,
    PRIMARY KEY (hour, id)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER an_hour_is_over AFTER UPDATE OF hour ON last_used WHEN OLD.hour < NEW.hour
BEGIN
    INSERT INTO past (hour, id, allowed, denied) VALUES (OLD.hour, OLD.id, OLD.allowed, OLD.denied)
    ON CONFLICT (hour, id) DO UPDATE SET allowed = allowed + excluded.allowed, denied = denied + excluded.denied;
END;

CREATE VIEW hourly AS
    SELECT id, hour, allowed, denied FROM last_used
    UNION ALL
    SELECT id, hour, allowed, denied FROM past;

-- The rate limits of checks that run in a process each; whatever lives longer counts in memory.
CREATE TABLE window (
    id TEXT PRIMARY KEY,
    began_at INTEGER NOT NULL,
    count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The last day on which what is too old was thrown away.
CREATE TABLE swept (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    day INTEGER NOT NULL -- days since 1970
) STRICT;
