-- The server that runs a task, as jobs have it (`jobs.seat`); 0: a command, or a server that has no journal. Of several
-- servers on one store, each ends only the tasks of servers that have ended.
ALTER TABLE tasks ADD COLUMN instance INTEGER NOT NULL DEFAULT 0;
