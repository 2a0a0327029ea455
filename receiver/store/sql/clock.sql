-- name: read_clock
-- Return the time by the database's clock, in seconds since 1970.
SELECT extract(epoch FROM clock_timestamp())::double precision
