-- Take some of a key's allowance of the minute that runs, as far as it goes; gives what was granted, what is left for
-- all processes, and the seconds until the next minute.
INSERT INTO allowances AS known (key_id, minute, taken, granted)
VALUES (%(key_id)s, date_trunc('minute', now()), least(%(wanted)s, %(per_minute)s), least(%(wanted)s, %(per_minute)s))
ON CONFLICT (key_id) DO UPDATE SET
    minute = greatest(known.minute, excluded.minute),
    granted = CASE WHEN known.minute >= excluded.minute
        THEN greatest(least(%(wanted)s, %(per_minute)s - known.taken), 0) ELSE excluded.granted END,
    taken = CASE WHEN known.minute >= excluded.minute
        THEN greatest(known.taken, least(known.taken + %(wanted)s, %(per_minute)s)) ELSE excluded.taken END
RETURNING granted, greatest(%(per_minute)s - taken, 0) AS remaining,
    extract(epoch FROM minute + interval '1 minute' - now())::double precision AS resets_in
