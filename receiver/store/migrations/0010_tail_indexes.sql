-- What `GET /v1/tail` reads by time and no list does: events without a callback, ends of requests, and replays. Neither
-- a callback nor a request that is accepted without a job's end adds to the indexes on requests and actions.
-- depends: 0010_retention
-- transactional: false

CREATE INDEX CONCURRENTLY IF NOT EXISTS events_tail_idx ON events (received_at) WHERE callback_id IS NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS requests_finished_idx ON requests (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS requests_unknown_idx ON requests (unknown_since) WHERE status = 'unknown';
CREATE INDEX CONCURRENTLY IF NOT EXISTS actions_replay_idx ON actions (created_at) WHERE action = 'replay';
