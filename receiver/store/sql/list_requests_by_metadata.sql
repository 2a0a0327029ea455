-- Requests that can be found by a value under a key of their metadata, and by all those in `others` as well; the newest
-- first, from the cursor on. Not to be prepared: a frequent value with a rare status is read from the status' side.
SELECT requests.id, provider, operation, payload, metadata, status, detail, requests.created_at, due_at, deadline_at,
    finished_at, notify_url
FROM request_metadata AS named JOIN requests ON requests.id = named.request_id
WHERE named.key = %(key)s AND named.value = %(value)s
    AND (%(before)s::timestamptz IS NULL OR (named.created_at, named.request_id) < (%(before)s, %(before_id)s::uuid))
    AND (%(created_from)s::timestamptz IS NULL OR named.created_at >= %(created_from)s)
    AND (%(created_to)s::timestamptz IS NULL OR named.created_at < %(created_to)s)
    AND status = ANY(%(statuses)s::text[])
    AND (%(providers)s::text[] IS NULL OR provider = ANY(%(providers)s::text[]))
    AND (%(operation)s::text IS NULL OR operation = %(operation)s)
    AND (%(others)s::jsonb IS NULL OR NOT EXISTS (
        SELECT FROM jsonb_each_text(%(others)s) AS other
        WHERE NOT EXISTS (
            SELECT FROM request_metadata AS further
            WHERE further.key = other.key AND further.value = other.value
                AND further.created_at = named.created_at AND further.request_id = named.request_id)))
ORDER BY named.created_at DESC, named.request_id DESC LIMIT %(limit)s
