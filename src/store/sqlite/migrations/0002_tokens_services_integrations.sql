-- User tokens; services and orchestrations; the integrations that lead into them.

CREATE TABLE user_token (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    user TEXT NOT NULL REFERENCES user (id),
    description TEXT NOT NULL,
    hint TEXT,
    scopes TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    overlap_ends_at INTEGER
) STRICT;

CREATE INDEX user_token_user ON user_token (user);

-- What events are routed to. The id's first letter says which of the two it is.
CREATE TABLE destination (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE CHECK (substr(id, 1, 1) IN ('S', 'O')),
    name TEXT NOT NULL,
    description TEXT,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL REFERENCES user (id)
) STRICT;

CREATE UNIQUE INDEX destination_name ON destination (substr(id, 1, 1), name);

-- Integration keys must stay visible: beside the digest of each lies the key itself, sealed with the store key.
CREATE TABLE integration (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    destination TEXT NOT NULL REFERENCES destination (id),
    hint TEXT NOT NULL,
    sealed_key BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL REFERENCES user (id),
    rate_limit TEXT
) STRICT;

CREATE INDEX integration_destination ON integration (destination);
