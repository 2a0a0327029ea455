-- Take some of a key's allowance of the minute that runs, as far as it goes; gives what was granted, what is left for
-- all processes, and the seconds until the next minute.
INSERT INTO rate_limit_usage AS known (key_id, minute, used, granted)
VALUES (%(key_id)s, date_trunc('minute', now()), least(%(wanted)s, %(per_minute)s), least(%(wanted)s, %(per_minute)s))
ON CONFLICT (key_id) DO UPDATE SET
    minute = greatest(known.minute, excluded.minute),
    granted = CASE WHEN known.minute >= excluded.minute
        THEN greatest(least(%(wanted)s, %(per_minute)s - known.used), 0) ELSE excluded.granted END,
    used = CASE WHEN known.minute >= excluded.minute
        THEN greatest(known.used, least(known.used + %(wanted)s, %(per_minute)s)) ELSE excluded.used END
RETURNING granted, greatest(%(per_minute)s - used, 0) AS remaining,
    extract(epoch FROM minute + interval '1 minute' - now())::double precision AS resets_in
