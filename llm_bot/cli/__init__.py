"""The commands of `llm-bot`, one module each. Each has a `run` that returns the exit code."""
