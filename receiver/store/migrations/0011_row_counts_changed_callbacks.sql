-- Count changed callbacks. Each table has a migration of its own: a transaction that has locked one table must not wait
-- for another, because statements lock the tables in other orders.
-- depends: 0011_row_counts

CREATE OR REPLACE TRIGGER callback_inserted AFTER INSERT ON callbacks
    FOR EACH ROW WHEN (NEW.verdict IN ('invalid', 'unmapped')) EXECUTE FUNCTION count_changed_callback();
CREATE OR REPLACE TRIGGER callback_updated AFTER UPDATE ON callbacks
    FOR EACH ROW WHEN (OLD.verdict <> NEW.verdict) EXECUTE FUNCTION count_changed_callback();
CREATE OR REPLACE TRIGGER callback_deleted AFTER DELETE ON callbacks
    FOR EACH ROW WHEN (OLD.verdict IN ('invalid', 'unmapped')) EXECUTE FUNCTION count_changed_callback();
CREATE OR REPLACE TRIGGER callbacks_truncated AFTER TRUNCATE ON callbacks
    FOR EACH STATEMENT EXECUTE FUNCTION count_truncated_rows();
