-- How much providers are sent now, in the one order in which everybody locks them; and the time, which is read when all
-- are locked (the window sees to it): who waited for a lock goes by the time at which it was had. All workers wait for
-- these locks, so that whoever vanishes with them loses them, and its transaction, after 5 s and not when TCP gives up.
WITH locked AS MATERIALIZED (
    SELECT name AS provider, rate, full_rate, rate_changed_at, held_until, next_slot_at, failures, consecutive_openings, open_until, probing
    FROM providers WHERE name = ANY(%(names)s::text[]) ORDER BY name FOR NO KEY UPDATE
),
counted AS MATERIALIZED (SELECT *, count(*) OVER () FROM locked),
bounded AS MATERIALIZED (SELECT set_config('idle_in_transaction_session_timeout', '5s', true))
SELECT provider, rate, full_rate, rate_changed_at, held_until, next_slot_at, failures, consecutive_openings, open_until, probing,
    clock_timestamp() AS now
FROM counted CROSS JOIN bounded ORDER BY provider
