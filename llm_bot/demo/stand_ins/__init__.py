"""The chat server, the connector and the model server, played."""
