"""What the daemon costs, measured beside something that everybody knows, in the same run."""
