-- One callback as it came; the body of a duplicate is that of the first delivery.
SELECT id, identity, provider, received_at, verdict, method, target, headers, errors,
    coalesce(body, (SELECT first.body FROM callbacks AS first
        WHERE first.identity = callbacks.identity AND first.verdict IN ('accepted', 'invalid', 'unmapped')
        LIMIT 1), '') AS body
FROM callbacks WHERE id = %(id)s
