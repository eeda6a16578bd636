"""Where connectors publish the events of a channel.

Three families of subjects exist (Kryten-Robot 1.12 and its first version, read and observed; the
third is what early papers about this bot name):

    kryten   kryten.events.cytube.{channel}.{event}
    early    cytube.events.{domain}.{channel}.{event}     the dots of the domain kept
    plain    cytube.events.{channel}.{event}
"""

from __future__ import annotations

from llm_bot.models import Dialect

MAX_DOMAIN_TOKENS = 4
"""`early` subjects hold the domain's dots; where the domain isn't configured, so many labels are
tried (`localhost`, `cytu.be`, `www.cytu.be`, `tv.example.co.uk`)."""


def event_subjects(dialect: Dialect, channel: str, domain: str | None = None) -> tuple[str, ...]:
    """The subjects that carry every event of a channel in a dialect.

    Subjects mind case. Today's connector writes the channel in lower case; for the other two the
    name as configured and in lower case are both heard.
    """
    names = dict.fromkeys((channel.lower(), channel))
    match dialect:
        case Dialect.KRYTEN:
            return (f"kryten.events.cytube.{channel.lower()}.*",)
        case Dialect.PLAIN:
            return tuple(f"cytube.events.{name}.*" for name in names)
        case Dialect.EARLY:
            any_domain = [".".join("*" * labels) for labels in range(1, MAX_DOMAIN_TOKENS + 1)]
            domains = any_domain if domain is None else [domain.strip().lower()]
            return tuple(f"cytube.events.{place}.{name}.*" for place in domains for name in names)
