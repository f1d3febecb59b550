-- What was counted. A file of its own: checks write here, and never wait for management.

CREATE TABLE last_used (
    id TEXT PRIMARY KEY,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The rate limits of checks that run in a process each; whatever lives longer counts in memory.
CREATE TABLE window (
    id TEXT PRIMARY KEY,
    began_at INTEGER NOT NULL,
    count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- By hour first: what is counted now lies together, and so does what is too old to keep.
CREATE TABLE hourly (
    hour INTEGER NOT NULL, -- hours since 1970
    id TEXT NOT NULL,
    allowed INTEGER NOT NULL,
    denied INTEGER NOT NULL,
    PRIMARY KEY (hour, id)
) STRICT, WITHOUT ROWID;

-- The last day on which what is too old was thrown away.
CREATE TABLE swept (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    day INTEGER NOT NULL -- days since 1970
) STRICT;
