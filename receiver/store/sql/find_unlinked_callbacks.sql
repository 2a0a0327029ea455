-- Return the next accepted or unmapped callbacks after an id that no event refers to, of one provider or of all
-- providers.
SELECT id, identity, provider, received_at, verdict, method, target, headers, errors, coalesce(body, '') AS body
FROM callbacks
WHERE id > %(after)s AND verdict IN ('accepted', 'unmapped')
    AND (%(provider)s::text IS NULL OR provider = %(provider)s)
    AND NOT EXISTS (SELECT FROM events WHERE callback_id = callbacks.id)
ORDER BY id LIMIT %(limit)s
