-- What operators and the host app's backend did. Append-only.
CREATE TABLE audit_log (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         bigint NOT NULL,
    actor      text   NOT NULL, -- the subject of the token
    action     text   NOT NULL,
    target     text   NOT NULL,
    request_id text   NOT NULL,
    details    jsonb  NOT NULL
);

CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_log is append-only';
END
$$;

CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only();

-- Operators look players and raids up by how a name begins. An index takes only so much of a text.
CREATE INDEX players_name ON players (left(lower(name), 64) text_pattern_ops, id);
CREATE INDEX raids_title ON raids (left(lower(title), 64) text_pattern_ops, id);

-- Proofs that are good for one sign-in, remembered until they are too old anyway.
CREATE TABLE used_proofs (
    proof bytea       PRIMARY KEY,
    until timestamptz NOT NULL
);

CREATE INDEX used_proofs_until ON used_proofs (until);
