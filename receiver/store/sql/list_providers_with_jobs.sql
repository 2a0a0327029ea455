-- Return the providers that have jobs.
SELECT provider FROM providers_with_jobs
