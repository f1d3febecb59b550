-- The content of each imported item, in the order of the import. The audit record of the import commits to all of it,
-- so that the store can be compared with the audit trail.
CREATE TABLE imported (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    record INTEGER NOT NULL,
    content TEXT NOT NULL
) STRICT;

CREATE TRIGGER imported_is_not_changed BEFORE UPDATE ON imported
BEGIN SELECT raise(ABORT, 'the entries of imports are append-only'); END;

CREATE TRIGGER imported_is_not_shortened BEFORE DELETE ON imported
BEGIN SELECT raise(ABORT, 'the entries of imports are append-only'); END;

-- INSERT OR REPLACE deletes conflicting rows without firing delete triggers.
CREATE TRIGGER imported_is_not_replaced BEFORE INSERT ON imported
WHEN EXISTS (SELECT 1 FROM imported WHERE id = new.id OR row = new.row)
BEGIN SELECT raise(ABORT, 'the entries of imports are append-only'); END;

CREATE TRIGGER audit_is_not_replaced BEFORE INSERT ON audit
WHEN new.number IS NOT (SELECT coalesce(max(number), 0) + 1 FROM audit)
BEGIN SELECT raise(ABORT, 'the audit trail is append-only'); END;

-- A dead secret never becomes valid again.
CREATE TRIGGER tombstone_is_not_changed BEFORE UPDATE ON tombstone
BEGIN SELECT raise(ABORT, 'a tombstone is kept for good'); END;

CREATE TRIGGER tombstone_is_not_removed BEFORE DELETE ON tombstone
BEGIN SELECT raise(ABORT, 'a tombstone is kept for good'); END;

CREATE TRIGGER tombstone_is_not_replaced BEFORE INSERT ON tombstone
WHEN EXISTS (SELECT 1 FROM tombstone WHERE digest = new.digest)
BEGIN SELECT raise(ABORT, 'a tombstone is kept for good'); END;
