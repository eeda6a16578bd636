"""When to speak: one module a trigger, each a pure condition."""
