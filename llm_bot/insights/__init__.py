"""What the talk is about: topics, questions, and the buffer that observers read."""
