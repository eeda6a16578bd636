"""The live page: a room as it flows, each line with its decision."""
