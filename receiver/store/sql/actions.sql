-- name: record_action
-- Insert an action of an operator.
INSERT INTO actions (id, subject, action, created_at, actor, reason)
VALUES (%(id)s, %(subject)s, %(action)s, now(), %(actor)s, %(reason)s)

-- name: find_actions
-- Return the actions on a subject, oldest first.
SELECT created_at, actor, action, reason FROM actions WHERE subject = %(subject)s ORDER BY created_at, id
