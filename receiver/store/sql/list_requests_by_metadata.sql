-- Return a page of the requests whose metadata has a value under a key, and all the pairs in `other_metadata`, newest
-- first. Do not prepare the statement: a frequent value with a rare status is read along the index of the statuses.
SELECT requests.id, provider, operation, payload, metadata, status, detail, requests.created_at, due_at, deadline_at,
    finished_at, notify_url
FROM request_metadata AS entry JOIN requests ON requests.id = entry.request_id
WHERE entry.key = %(key)s AND entry.value = %(value)s
    AND (%(before)s::timestamptz IS NULL OR (entry.created_at, entry.request_id) < (%(before)s, %(before_id)s::uuid))
    AND (%(created_from)s::timestamptz IS NULL OR entry.created_at >= %(created_from)s)
    AND (%(created_to)s::timestamptz IS NULL OR entry.created_at < %(created_to)s)
    AND status = ANY(%(statuses)s::text[])
    AND (%(providers)s::text[] IS NULL OR provider = ANY(%(providers)s::text[]))
    AND (%(operation)s::text IS NULL OR operation = %(operation)s)
    AND (%(other_metadata)s::jsonb IS NULL OR NOT EXISTS (
        SELECT FROM jsonb_each_text(%(other_metadata)s) AS pair
        WHERE NOT EXISTS (
            SELECT FROM request_metadata AS other
            WHERE other.key = pair.key AND other.value = pair.value
                AND other.created_at = entry.created_at AND other.request_id = entry.request_id)))
ORDER BY entry.created_at DESC, entry.request_id DESC LIMIT %(limit)s
