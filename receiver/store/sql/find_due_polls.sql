-- Return the providers for which a poll is due and may begin now, and whether it takes a send slot.
SELECT capacity.provider, limited FROM open_capacities(%(capacities)s::jsonb) AS capacity
WHERE (held_until IS NULL OR held_until <= now()) AND (open_until IS NULL OR open_until <= now())
    AND EXISTS (SELECT FROM jobs WHERE jobs.provider = capacity.provider AND poll_at <= now())
