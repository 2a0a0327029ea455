-- Return the providers for which a request is due and may begin now, and whether it takes a send slot.
SELECT capacity.provider, limited FROM open_capacities(%(capacities)s::jsonb) AS capacity
WHERE (held_until IS NULL OR held_until <= now()) AND (open_until IS NULL OR open_until <= now())
    AND EXISTS (SELECT FROM requests
        WHERE status = 'queued' AND requests.provider = capacity.provider AND due_at <= now() AND deadline_at > now())
