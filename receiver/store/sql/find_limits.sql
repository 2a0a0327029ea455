-- Return the limits of providers, and the current time.
SELECT name AS provider, rate, full_rate, rate_changed_at, held_until, next_slot_at, failures, consecutive_openings,
    open_until, probing, clock_timestamp() AS now
FROM providers WHERE name = ANY(%(names)s::text[])
