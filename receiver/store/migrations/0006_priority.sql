-- The priority of requests: of those that are due, the ones with the highest priority are sent first.
-- depends: 0006_bulk_actions

ALTER TABLE requests ADD COLUMN priority smallint NOT NULL DEFAULT 5;

-- Not validated, which would read the whole table: all rows that exist have the default.
ALTER TABLE requests ADD CONSTRAINT requests_priority_check CHECK (priority BETWEEN 0 AND 9) NOT VALID;
