-- Store the limits of providers, whose rows are locked already.
UPDATE providers SET rate = input.rate, full_rate = input.full_rate, rate_changed_at = input.rate_changed_at,
    held_until = input.held_until, next_slot_at = input.next_slot_at, failures = input.failures,
    consecutive_openings = input.consecutive_openings, open_until = input.open_until, probing = input.probing
FROM jsonb_to_recordset(%(limits)s::jsonb) AS input(
    provider text, rate double precision, full_rate double precision, rate_changed_at timestamptz,
    held_until timestamptz, next_slot_at timestamptz, failures integer, consecutive_openings integer,
    open_until timestamptz, probing boolean)
WHERE name = input.provider
