-- Of the lanes, those that a lookup is due in and that something may begin in by now; and whether they take slots.
SELECT lane.provider, limited FROM open_lanes(%(lanes)s::jsonb) AS lane
WHERE (held_until IS NULL OR held_until <= now()) AND (open_until IS NULL OR open_until <= now())
    AND EXISTS (SELECT FROM requests WHERE requests.provider = lane.provider AND ask_at <= now())
