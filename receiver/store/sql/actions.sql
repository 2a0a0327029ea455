-- name: record_actions
-- Insert an action of an operator on each of several subjects.
INSERT INTO actions (id, subject, action, created_at, actor, reason)
SELECT id, subject, %(action)s, now(), %(actor)s, %(reason)s
FROM unnest(%(ids)s::uuid[], %(subjects)s::text[]) AS input(id, subject)

-- name: find_actions
-- Return the actions on a subject, oldest first.
SELECT created_at, actor, action, reason FROM actions WHERE subject = %(subject)s ORDER BY created_at, id
