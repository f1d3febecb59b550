-- The account, its users, general keys, the digests of secrets, and the audit trail.
-- Moments are milliseconds since 1970, UTC.

CREATE TABLE account (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    name TEXT NOT NULL,
    policy TEXT NOT NULL,
    subdomain TEXT,
    rest_api INTEGER NOT NULL CHECK (rest_api IN (0, 1)),
    advanced_permissions INTEGER NOT NULL CHECK (advanced_permissions IN (0, 1)),
    created_at INTEGER NOT NULL
) STRICT;

-- Tells this store's key from another's.
CREATE TABLE store_key_check (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    value BLOB NOT NULL CHECK (length(value) = 32)
) STRICT;

CREATE TABLE user (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    email TEXT,
    role TEXT NOT NULL,
    os_uid INTEGER,
    external_id TEXT,
    rate_limit TEXT,
    created_at INTEGER NOT NULL,
    left_at INTEGER,
    left_reason TEXT,
    CHECK (left_at IS NOT NULL OR left_reason IS NULL)
) STRICT;

-- A name, an operating-system user and an external id are free again when their user has left.
CREATE UNIQUE INDEX user_name ON user (name) WHERE left_at IS NULL;
CREATE UNIQUE INDEX user_os_uid ON user (os_uid) WHERE os_uid IS NOT NULL AND left_at IS NULL;
CREATE UNIQUE INDEX user_external_id ON user (external_id) WHERE external_id IS NOT NULL AND left_at IS NULL;
CREATE UNIQUE INDEX user_one_owner ON user (role) WHERE role = 'owner';

CREATE TABLE general_key (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    hint TEXT,
    access TEXT NOT NULL CHECK (access IN ('full', 'read-only', 'scopes')),
    scopes TEXT,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL REFERENCES user (id),
    disabled_at INTEGER,
    disabled_by TEXT REFERENCES user (id),
    disabled_reason TEXT,
    expires_at INTEGER,
    rate_limit TEXT,
    overlap_ends_at INTEGER,
    CHECK ((access = 'scopes') = (scopes IS NOT NULL)),
    CHECK ((disabled_at IS NULL) = (disabled_by IS NULL))
) STRICT;

-- One row for each secret that is not dead for good: a credential has one, or two while a rotation overlaps.
-- Narrow and keyed by digest, since this is what every check looks up. `holder` is the row of the credential in
-- the table of its kind.
CREATE TABLE digest (
    digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
    kind TEXT NOT NULL,
    holder INTEGER NOT NULL,
    ends_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX digest_holder ON digest (kind, holder);

-- What is left of secrets that are dead for good, so that one that turns up is recognised.
CREATE TABLE tombstone (
    digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
    id TEXT NOT NULL,
    death TEXT NOT NULL CHECK (death IN ('removed', 'rotated')),
    died_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX tombstone_id ON tombstone (id);

-- The record is what the chain covers; the other columns are read out of it and cannot say otherwise.
CREATE TABLE audit (
    number INTEGER PRIMARY KEY,
    record TEXT NOT NULL,
    chain BLOB NOT NULL CHECK (length(chain) = 32),
    target TEXT GENERATED ALWAYS AS (record ->> '$.root_resource.id') VIRTUAL,
    target_type TEXT GENERATED ALWAYS AS (record ->> '$.root_resource.type') VIRTUAL,
    action TEXT GENERATED ALWAYS AS (record ->> '$.action') VIRTUAL,
    execution_time TEXT GENERATED ALWAYS AS (record ->> '$.execution_time') VIRTUAL
) STRICT;

CREATE INDEX audit_target ON audit (target);

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT raise(ABORT, 'the audit trail is append-only'); END;

CREATE TRIGGER audit_is_not_shortened BEFORE DELETE ON audit
BEGIN SELECT raise(ABORT, 'the audit trail is append-only'); END;
