-- What repair needs: which events a callback made.
-- depends: 0005_ambiguity

CREATE INDEX events_of_callback ON events (callback_id) WHERE callback_id IS NOT NULL;
