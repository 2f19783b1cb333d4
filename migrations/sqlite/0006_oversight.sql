-- What operators and the host app's backend did. Append-only.
CREATE TABLE audit_log (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    actor      TEXT    NOT NULL, -- the subject of the token
    action     TEXT    NOT NULL,
    target     TEXT    NOT NULL,
    request_id TEXT    NOT NULL,
    details    TEXT    NOT NULL -- JSON
) STRICT;

CREATE TRIGGER audit_log_is_not_changed BEFORE UPDATE ON audit_log
BEGIN
    SELECT RAISE(ABORT, 'audit_log is append-only');
END;

CREATE TRIGGER audit_log_is_not_shortened BEFORE DELETE ON audit_log
BEGIN
    SELECT RAISE(ABORT, 'audit_log is append-only');
END;

-- Operators look players and raids up by how a name begins.
CREATE INDEX players_name ON players (lower(name), id);
CREATE INDEX raids_title ON raids (lower(title), id);

-- Proofs that are good for one sign-in, remembered until they are too old anyway.
CREATE TABLE used_proofs (
    proof BLOB    PRIMARY KEY,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX used_proofs_until ON used_proofs (until);
