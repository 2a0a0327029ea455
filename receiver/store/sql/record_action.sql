-- Insert an action of an operator.
INSERT INTO actions (id, subject, action, created_at, actor, reason)
VALUES (%(id)s, %(subject)s, %(action)s, now(), %(actor)s, %(reason)s)
