"""From a job to a line that was said."""
