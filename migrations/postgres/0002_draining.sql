-- An instance that is about to leave says so: nobody sends it more raids or clients.
ALTER TABLE instances ADD COLUMN draining boolean NOT NULL DEFAULT false;
