-- Count the rows that existed before the triggers of the previous migrations. Nothing waits meanwhile, however long it
-- takes; if it is interrupted, it is repeated.
-- depends: 0011_row_counts_changed_requests

DO $$ BEGIN PERFORM count_all_rows(); END $$;
