-- Return one callback. A duplicate has the body of the first delivery.
SELECT id, identity, provider, received_at, verdict, method, target, headers, errors,
    coalesce(body, (SELECT original.body FROM callbacks AS original
        WHERE original.identity = callbacks.identity AND original.verdict IN ('accepted', 'invalid', 'unmapped')
        LIMIT 1), '') AS body
FROM callbacks WHERE id = %(id)s
