"""Who acts on what was decided."""
