-- Registered apps and their one-day tokens. An app's client secret has its digest in `digest`, kind 'client'.

CREATE TABLE app (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    description TEXT,
    scopes TEXT NOT NULL,
    hint TEXT NOT NULL,
    rate_limit TEXT,
    overlap_ends_at INTEGER,
    tokens_revoked_at INTEGER,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL REFERENCES user (id)
) STRICT;

CREATE TABLE app_token (
    row INTEGER PRIMARY KEY,
    app TEXT NOT NULL REFERENCES app (id) ON DELETE CASCADE,
    scopes TEXT NOT NULL,
    hint TEXT NOT NULL,
    issued_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX app_token_app ON app_token (app);
CREATE INDEX app_token_expires_at ON app_token (expires_at);
