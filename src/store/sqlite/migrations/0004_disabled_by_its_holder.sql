-- Whoever holds a key may have it disabled, and is no user: nobody of the account has done it then. A constraint
-- cannot be taken away from a table, so that the table is made anew; its rows keep their numbers, by which their
-- digests find them.

CREATE TABLE general_key_4 (
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
    CHECK (disabled_at IS NOT NULL OR (disabled_by IS NULL AND disabled_reason IS NULL))
) STRICT;

INSERT INTO general_key_4 (row, id, description, hint, access, scopes, created_at, created_by, disabled_at,
                           disabled_by, disabled_reason, expires_at, rate_limit, overlap_ends_at)
SELECT row, id, description, hint, access, scopes, created_at, created_by, disabled_at,
       disabled_by, disabled_reason, expires_at, rate_limit, overlap_ends_at
FROM general_key;

DROP TABLE general_key;
ALTER TABLE general_key_4 RENAME TO general_key;
