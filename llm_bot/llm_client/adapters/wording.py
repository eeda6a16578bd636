"""What servers refuse, in their own words.

A refusal may quote chat, list what would have been right, or complain of a value. So a name counts
only where the grammar of the sentence ties it to a refusal; a lesson that is missed costs an
error, a wrong one costs an option of the operator's for good.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# Servers say first what is wrong; what follows is the request, a template or a traceback.
MAX_WORDS = 10_000

# Names may be quoted, and be paths ("body.seed", "messages[0].role"). Possessive, here and below:
# what was read is never read in another way, so that no text takes long.
_VALUE = r"-?[0-9]{1,20}+(?:\.[0-9]{1,20}+)?"
_QUOTE = r"['\"`‘’“”]?"
_NAME = r"[A-Za-z_][A-Za-z0-9_.\-\[\]]{0,63}+"
_ITEM = rf"{_QUOTE}{_NAME}{_QUOTE}(?:\s{{0,3}}+[:=]\s{{0,3}}+{_VALUE})?"
_LIST = (
    rf"({_ITEM}(?:(?:\s{{0,3}}+,\s{{0,3}}+(?:and |or )?|\s{{1,3}}+(?:and|or)\s){_ITEM}){{0,20}})"
)
_KIND = (
    r"(?:param(?:eter)?|arg(?:ument)?|field|option|key|keyword|propert(?:y|ie)|name|setting)"
    r"(?:s|\(s\))?"
)
_UNKNOWN = r"(?:unsupported|unknown|unrecogni[sz]ed|unexpected)\b"
_NOT = r"(?:\bnot|n't|\bcannot)\s{1,3}+(?:currently |yet )?"
_ACCEPTED = r"(?:support|permitt|allow|accept|recogni[sz])ed\b(?!\s+to\b)"
_HERE = r"(?: (?:on|for|with|by|in) (?:this|the|your) (?:model|api|endpoint|request)(?: body)?)?"
_REFUSED = (
    rf"(?:(?:(?:is|are|was|were)\s{{1,3}}+)?(?:currently )?"
    rf"(?:(?:an? )?{_UNKNOWN}(?! (?:type|value|format))|deprecated\b"
    rf"|not (?:currently |yet )?{_ACCEPTED}|not a valid {_KIND})"
    rf"|(?:is|are|was|were)n't {_ACCEPTED}|(?:do|does|did)(?: not|n't) support\b"
    r"|extra (?:inputs|fields) (?:are )?not permitted)"
)
_NAMED_AFTER = (
    # Unsupported parameter: 'x'; Unrecognized request argument supplied: x, y
    rf"\b(?:{_UNKNOWN}|extra|additional)"
    rf"(?: (?:request|keyword|input|body|query|json)){{0,2}} {_KIND}"
    rf"(?: (?:supplied|found|given|provided|received|passed))?{_HERE}\s{{0,3}}+:?\s{{0,3}}+"
    rf"[\[({{]?{_LIST}",
    # does not support x; doesn't support parameters: ['x', 'y']
    rf"{_NOT}support (?:(?:the|these|any|custom|following|use of) ){{0,2}}"
    rf"(?:{_KIND}:?\s{{0,3}}+)?"
    rf"[\[({{]?{_LIST}"
    rf"(?=[\])}}]|\s{{0,3}}+(?:$|[.,;:!?]|(?:and|or|with|for|in|on|when|values?)\b|{_KIND}))",
    # not supported on this model: x; additional properties are not allowed ('x' was unexpected)
    rf"{_NOT}{_ACCEPTED}{_HERE}\s{{0,3}}+(?:,? ?(?:{_KIND})?:|\()\s{{0,3}}+[\[({{]?{_LIST}",
)
_NAMED_BEFORE = (
    # 'x' is not supported; 'x' does not support 0.7; body.x: Extra inputs are not permitted
    # but not "the user is not allowed": these names are words as well
    rf"(?<![\w.\-\[])(?!(?:user|stop|store|n) )({_QUOTE}{_NAME}{_QUOTE})(?: {_KIND})?"
    rf"(?: of type {_QUOTE}{_NAME}{_QUOTE})?"
    rf"(?:\s{{0,3}}+(?:[=:]|value )?\s{{0,3}}+{_VALUE})?\s{{0,3}}+[:,]?\s{{0,3}}+"
    rf"{_REFUSED}",
)
_AS_DATA = (
    # A list of pydantic's, or OpenAI's own error, that somebody passes on as a text.
    rf"extra_forbidden['\"],\s?['\"]loc['\"]:\s?[\[(]['\"]body['\"],\s?['\"]({_NAME})['\"]",
    rf"['\"]param['\"]:\s?['\"]({_NAME})['\"],\s?['\"]code['\"]:\s?['\"]un[a-z]+_(?:param|value)",
)
_GRAMMAR = [re.compile(text, re.IGNORECASE) for text in (*_NAMED_AFTER, *_NAMED_BEFORE)]
_DATA = [re.compile(text) for text in _AS_DATA]
_EACH_NAME = re.compile(rf"{_QUOTE}({_NAME})")

# What is quoted and has several words is no name: a value, or somebody's chat.
_QUOTED = re.compile(r"\"[^\"]*+\"|(?<!\w)'[^'\n]*+'(?!\w)|“[^”]*+”")
_SIZE = re.compile(
    r"too (?:large|big|long|high|many|small|low)|exceed|at (?:most|least)|maximum|minimum"
    r"|greater|less than|context (?:length|window|size)",
    re.IGNORECASE,
)
_REFUSAL = re.compile(rf"{_UNKNOWN} {_KIND}|{_REFUSED}", re.IGNORECASE)
_WRONG_VALUE = re.compile(r"\bmust\b|should be|\bexpected\b|between|out of range", re.IGNORECASE)
_CODE = re.compile(
    r"(?:unsupported|unknown|unrecogni[sz]ed|unexpected)_(?:param|value|arg|field)|extra_forbidden"
)
_MODERATION = re.compile(
    r"moderat|flagged|polic(?:y|ies)|content[ _-]?filter|safety", re.IGNORECASE
)
_MISSING = re.compile(
    r"not[ _]?found|\bno such\b|(?:\bnot|n't) exist|\bno (?:models?|endpoints?|routes?)\b"
    r"|\b(?:unknown|invalid|unexpected|unrecogni[sz]ed) (?:request )?"
    r"(?:model|engine|deployment|url|path|endpoint|route)"
    r"|\bmodels?\b.{0,100}?(?:\bnot\b|n't\b|\bun(?:known|available|supported)|invalid)"
    r"|\b(?:can(?:not|'t)|unable to|failed to) (?:find|locate|load)\b"
    r"|deprecated|decommissioned|no longer",
    re.IGNORECASE | re.DOTALL,
)
# The exceptions that chat templates raise, and what hosted models say instead.
_STRICT_TURNS = re.compile(
    r"system (?:role|message|prompt|instruction)s?\b.{0,40}?(?:\bnot |n't |\bun)(?:support|allow)"
    r"|(?:developer|system) instruction is not enabled"
    r"|system message must be (?:at the beginning|(?:the )?first)"
    r"|only user(?:,| and) (?:assistant|model)(?:,? and \w+)? roles are supported"
    r"|(?:\bnot|n't) support.{0,20}(?:system (?:role|message|prompt)|['\"`](?:system|developer)\b)"
    r"|roles? (?:must|should) alternate|alternate between|must be from (?:the )?user"
    r"|(?:start|begin) with (?:a |the )?['\"]?user\b|first message must use the"
    r"|consecutive (?:messages|roles)",
    re.IGNORECASE | re.DOTALL,
)


def wants_strict_turns(text: str) -> bool:
    """Whether `text` refuses a system role, or roles that don't take turns.

    >>> wants_strict_turns("Error rendering prompt: System role not supported")
    True
    """
    return _STRICT_TURNS.search(text[:MAX_WORDS]) is not None


def is_about_moderation(text: str) -> bool:
    """Whether `text` says that what was written may not be answered.

    >>> is_about_moderation("Your input was flagged"), is_about_moderation("content_filter")
    (True, True)
    """
    return _MODERATION.search(text[:MAX_WORDS]) is not None


def is_about_missing(text: str) -> bool:
    """Whether `text`, of a 404, says that there is no such model or path.

    `mlx_lm.server` answers with a 404 whatever goes wrong once it has the model.

    >>> is_about_missing("model 'm' not found"), is_about_missing("Insufficient Memory")
    (True, False)
    """
    is_about_template = wants_strict_turns(text) or "chat template" in text[:MAX_WORDS].lower()
    return not is_about_template and _MISSING.search(text[:MAX_WORDS]) is not None


def is_about_size(text: str) -> bool:
    """Whether `text` complains that something is too much or too little."""
    return _SIZE.search(text[:MAX_WORDS]) is not None


def is_refusal(text: str) -> bool:
    """Whether `text` refuses a parameter that is named elsewhere, and not just its value."""
    words = _without_quotations(text[:MAX_WORDS])
    return _REFUSAL.search(words) is not None and _WRONG_VALUE.search(words) is None


def is_code_of_refusal(code: str) -> bool:
    """Whether `code` is one of those for parameters that a server doesn't take."""
    return _CODE.search(code) is not None


def refused_names(text: str) -> Iterator[str]:
    """The parameters that `text` says are refused, as it writes them.

    >>> list(refused_names("Unsupported parameter: 'max_tokens'. Use 'other' instead."))
    ['max_tokens']
    """
    text = text[:MAX_WORDS]
    for pattern in _DATA:
        yield from pattern.findall(text)
    words = _without_quotations(text)
    for pattern in _GRAMMAR:
        for names in pattern.findall(words):
            yield from _EACH_NAME.findall(names)


def top_level(path: str) -> str:
    """The field of the body that `path` leads into.

    >>> top_level("body.response_format.type"), top_level("messages[0].role")
    ('response_format', 'messages')
    """
    steps = re.split(r"[.\[\]]", path.strip("'\"`"))
    return next((step for step in steps if step and step != "body"), "")


def _without_quotations(text: str) -> str:
    return _QUOTED.sub(lambda found: "''" if re.search(r"\s", found[0]) else found[0], text)
