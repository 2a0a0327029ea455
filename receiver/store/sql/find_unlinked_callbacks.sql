-- The next callbacks after an id that were taken and that no event names, of one provider or of all.
SELECT id, identity, provider, received_at, verdict, method, target, headers, errors, coalesce(body, '') AS body
FROM callbacks
WHERE id > %(after)s AND verdict IN ('accepted', 'unmapped')
    AND (%(provider)s::text IS NULL OR provider = %(provider)s)
    AND NOT EXISTS (SELECT FROM events WHERE callback_id = callbacks.id)
ORDER BY id LIMIT %(limit)s
