-- How much providers are sent now, in the one order in which everybody locks them; and the time.
SELECT name AS provider, rate, full_rate, rated_at, held_until, next_slot_at, failures, openings, open_until, probing,
    clock_timestamp() AS now
FROM providers WHERE name = ANY(%(names)s::text[]) ORDER BY name FOR NO KEY UPDATE
