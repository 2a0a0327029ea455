-- Lock the limits of providers, in the order in which every transaction locks them, and return them with the current
-- time. The time is read when all rows are locked, which the window function ensures: a transaction that waited for a
-- lock must not use the time from before. All workers wait for these locks. Therefore a worker that hangs loses them,
-- with its transaction, after 5 seconds, and not only when TCP gives up.
WITH locked_limits AS MATERIALIZED (
    SELECT name AS provider, rate, full_rate, rate_changed_at, held_until, next_slot_at, failures, consecutive_openings,
        open_until, probing
    FROM providers WHERE name = ANY(%(names)s::text[]) ORDER BY name FOR NO KEY UPDATE
),
counted_limits AS MATERIALIZED (SELECT *, count(*) OVER () FROM locked_limits),
timeout AS MATERIALIZED (SELECT set_config('idle_in_transaction_session_timeout', '5s', true))
SELECT provider, rate, full_rate, rate_changed_at, held_until, next_slot_at, failures, consecutive_openings, open_until,
    probing, clock_timestamp() AS now
FROM counted_limits CROSS JOIN timeout ORDER BY provider
