"""All SQL: statements in `.sql` files, migrations, connections, group commit and the embedded Postgres."""
