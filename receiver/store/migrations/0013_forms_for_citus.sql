-- On Citus, each part of a statement that changes rows runs by itself: an event is inserted before its job, and a
-- condition of ON CONFLICT takes only functions that are immutable.
-- depends: 0012_activity

ALTER TABLE events ALTER CONSTRAINT events_job_id_fkey DEFERRABLE INITIALLY DEFERRED;

-- It only raises: there is no result that could change.
ALTER FUNCTION raise_conflict(text) IMMUTABLE;
