-- Count the rows that existed before the triggers of the previous migration. Nothing waits meanwhile, however long it
-- takes; if it is interrupted, it is repeated.
-- depends: 0011_row_counts

DO $$ BEGIN PERFORM count_all_rows(); END $$;
