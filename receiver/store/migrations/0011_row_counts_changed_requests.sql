-- Count changed requests. Each table has a migration of its own: a transaction that has locked one table must not wait
-- for another, because statements lock the tables in other orders.
-- depends: 0011_row_counts_changed_jobs

CREATE OR REPLACE TRIGGER requests_inserted AFTER INSERT ON requests REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_changed_requests();
CREATE OR REPLACE TRIGGER requests_updated AFTER UPDATE ON requests REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_changed_requests();
CREATE OR REPLACE TRIGGER requests_deleted AFTER DELETE ON requests REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_changed_requests();
CREATE OR REPLACE TRIGGER requests_truncated AFTER TRUNCATE ON requests
    FOR EACH STATEMENT EXECUTE FUNCTION count_truncated_rows();
