-- Keep what an operator did.
INSERT INTO actions (id, subject, action, created_at, actor, reason)
VALUES (%(id)s, %(subject)s, %(action)s, now(), %(actor)s, %(reason)s)
