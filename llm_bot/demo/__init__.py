"""A film night without a network: a recorded room, its connector and a stand-in model server."""
