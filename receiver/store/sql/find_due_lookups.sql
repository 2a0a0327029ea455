-- Of the lanes, those that a lookup is due in and that something may begin in by now; and whether they take slots.
SELECT capacity.provider, limited FROM open_capacities(%(capacities)s::jsonb) AS capacity
WHERE (held_until IS NULL OR held_until <= now()) AND (open_until IS NULL OR open_until <= now())
    AND EXISTS (SELECT FROM requests WHERE requests.provider = capacity.provider AND next_lookup_at <= now())
