"""A line holds a word or phrase that the operator listed."""

from __future__ import annotations

from llm_bot.config import KeywordTriggerConfig
from llm_bot.models import ChatLine
from llm_bot.triggers.base import WholeWords


class KeywordTrigger:
    """Fires on whole words, any case, unless the configuration says otherwise."""

    kind = "keyword"

    def __init__(self, config: KeywordTriggerConfig, key: str) -> None:
        self.key = key
        self._ignore_case = not config.case_sensitive
        self._words = WholeWords(config.keywords, ignore_case=self._ignore_case)
        self._substrings: tuple[str, ...] = ()
        if config.match == "substring":
            joined = (" ".join(keyword.split()) for keyword in config.keywords)
            self._substrings = tuple(
                keyword.lower() if self._ignore_case else keyword for keyword in joined
            )

    def match(self, line: ChatLine) -> str | None:
        text = line.text.lower() if self._ignore_case else line.text
        if self._substrings:
            return next((keyword for keyword in self._substrings if keyword in text), None)
        return self._words.find(text)
