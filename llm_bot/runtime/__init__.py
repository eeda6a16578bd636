"""Rooms at work: opening, reloading, announcing, answering commands on the bus."""
