-- Lease up to `count` calls of a key's rate limit in the current minute. Return the number of leased calls, the number
-- that is left for all processes, and the seconds until the next minute.
INSERT INTO rate_limit_usage AS usage (key_id, minute, used, granted)
VALUES (%(key_id)s, date_trunc('minute', now()), least(%(count)s, %(per_minute)s), least(%(count)s, %(per_minute)s))
ON CONFLICT (key_id) DO UPDATE SET
    minute = greatest(usage.minute, excluded.minute),
    granted = CASE WHEN usage.minute >= excluded.minute
        THEN greatest(least(%(count)s, %(per_minute)s - usage.used), 0) ELSE excluded.granted END,
    used = CASE WHEN usage.minute >= excluded.minute
        THEN greatest(usage.used, least(usage.used + %(count)s, %(per_minute)s)) ELSE excluded.used END
RETURNING granted, greatest(%(per_minute)s - used, 0) AS remaining,
    extract(epoch FROM minute + interval '1 minute' - now())::double precision AS resets_in
