-- Keep how much providers are sent, by whoever has locked them.
UPDATE providers SET rate = l.rate, full_rate = l.full_rate, rate_changed_at = l.rate_changed_at, held_until = l.held_until,
    next_slot_at = l.next_slot_at, failures = l.failures, consecutive_openings = l.consecutive_openings, open_until = l.open_until,
    probing = l.probing
FROM jsonb_to_recordset(%(limits)s::jsonb) AS l(
    provider text, rate double precision, full_rate double precision, rate_changed_at timestamptz, held_until timestamptz,
    next_slot_at timestamptz, failures integer, consecutive_openings integer, open_until timestamptz, probing boolean)
WHERE name = l.provider
