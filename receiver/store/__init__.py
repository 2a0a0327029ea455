"""All SQL: named statements in `.sql` files, migrations, connections and group commit."""
