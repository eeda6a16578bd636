"""Why, and how much: records in words, queries, metrics."""
