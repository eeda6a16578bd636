"""How much of what is heard is taken; the rest is dropped or cut."""

MAX_BODY_BYTES = 1024 * 1024
"""A big room's `userlist` needs it, and a NATS server takes no more by default."""

MAX_RAW_MESSAGE_CHARACTERS = 16 * 1024
MAX_NAME_CHARACTERS = 50
MAX_TITLE_CHARACTERS = 200
MAX_ID_CHARACTERS = 128

MAX_EPOCH_SECONDS = 1e11
"""Later than any date that `datetime` knows a use for; above it a time is taken for rubbish."""
