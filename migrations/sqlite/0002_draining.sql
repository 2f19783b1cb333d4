-- An instance that is about to leave says so: nobody sends it more raids or clients.
ALTER TABLE instances ADD COLUMN draining INTEGER NOT NULL DEFAULT 0;
