-- The newest callbacks, of one provider or all, with one verdict or any.
SELECT id, provider, received_at, verdict, method, errors
FROM callbacks
WHERE (%(provider)s::text IS NULL OR provider = %(provider)s) AND (%(verdict)s::text IS NULL OR verdict = %(verdict)s)
ORDER BY received_at DESC, id DESC LIMIT %(limit)s
