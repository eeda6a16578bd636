"""The project's pages are true, as far as a test can tell."""
