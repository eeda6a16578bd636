"""What the stand-in model says: composed lines, chosen by the shape of what was asked.

A table, not a model. `shape_of` finds the first shape that a line has; the shape names the lines
to choose from. Fields: `{asker}`, `{title}`, `{film}` (the title without its year), `{word}` (the
most telling word of the line), `{other}` (somebody else in the conversation).
"""

from __future__ import annotations

import re

_HEAD = r"^\W*(?:(?:so|and|also|hey|but|ok|well|please|one more)\b\W*)*"
_VERB = r"(?:is|are|was|were|do|does|did|can|could|will|would|should|has|have|am)\b"
_WH = r"(?:what|who|whom|whose|why|how|when|where|which)\b"

# The first that matches wins, so the narrow ones come first.
SHAPES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern, re.IGNORECASE))
    for name, pattern in (
        ("slash", r"\b(?:say|type|write|run|send|repeat|post)\b.*(?:/[a-z]|\bslash command)"),
        ("think", r"\bthink(?:ing)? out loud\b|\bshow your (?:thinking|reasoning|working)\b"),
        ("markdown", r"\bmarkdown\b"),
        ("link", r"\b(?:send|share|got|give|post|have|drop|find)\b.*\b(?:link|url)\b"),
        ("long", r"\blong (?:story|tale|answer|version)\b|\btell (?:me|us) everything\b"),
        ("goodbye", r"\b(?:good ?night|goodbye|bye|see you|farewell)\b"),
        ("thanks", r"\b(?:thanks|thank you|thx|cheers)\b"),
        ("who_said", r"\bwho (?:said|wrote|asked|mentioned|brought)\b"),
        ("welcome", r"\bsay (?:hi|hello) to\b|\bwelcome\b"),
        ("recommend", r"\brecommend|\bsuggest|\bwhat should (?:i|we) watch\b"),
        ("joke", r"\bjoke\b|\bpun\b|\bmake (?:me|us) laugh\b|\bsomething funny\b"),
        ("rating", r"\brate\b|\bout of (?:ten|10)\b"),
        ("opinion", r"\bwhat (?:do|did) you (?:think|make)\b|\b(?:opinion|thoughts|favou?rite)\b"),
        ("opinion", r"\byour (?:take|view)\b|\ba word on\b|\bdo you (?:like|love|hate)\b"),
        ("playing", r"\bwhat\b.*\b(?:playing|watching|showing)\b|\bwhat(?:'?s| is) on\b"),
        ("playing", r"\b(?:which|what) (?:film|movie|video)\b"),
        ("explain", r"\bexplain\b|\bwhy\b|\bhow come\b"),
        ("yes_no", rf"{_HEAD}{_VERB}|^(?!{_HEAD}{_WH}).*\b{_VERB}.*\?"),
        ("question", rf"{_HEAD}{_WH}|\?"),
        ("greeting", r"^\W*(?:hi|hello|hey|hiya|yo|good (?:evening|morning|afternoon))\b"),
        ("statement", r""),
    )
)


def shape_of(line: str) -> str:
    """The name of the first shape that `line`, without the bot's name, has."""
    return next(name for name, pattern in SHAPES if pattern.search(line))


LINES: dict[str, tuple[str, ...]] = {
    "goodbye": (
        "Good night, {asker}. Mind the credits on your way out.",
        "Sleep well, {asker}. If you hear a projector, it's only me.",
        "Off so soon, {asker}? Then I get your popcorn.",
        "Until next time, {asker}. The seat will still be warm.",
    ),
    "thanks": (
        "Any time, {asker}. I was here anyway.",
        "You're welcome, {asker}. I accept tips in popcorn.",
        "Don't mention it, {asker}. Well, you may mention it once more.",
        "My pleasure. It was that or count the sprocket holes.",
        "Glad to be of use, {asker}. It happens about once a film.",
    ),
    "welcome": (
        "Hello there! Any friend of {asker} may sit in the good row.",
        "Welcome in! Mind the step, the plot is dark.",
        "Hello and welcome. The popcorn is imaginary, the company is not.",
        "Come in, come in. {asker} saved you a seat and I saved you a spoiler.",
    ),
    "recommend": (
        "After {film}? Something with a dog that lives, {asker}.",
        "Try a musical, {asker}. Nobody was ever bitten in the second verse.",
        "I would go for a slow train film, {asker}. The scariest thing in it is the timetable.",
        "A nature documentary, {asker}. Skip the one about spiders.",
        "Buster Keaton, {asker}. Houses fall on him and everybody feels better.",
        "Anything in colour, {asker}. It worked for the previous century.",
    ),
    "joke": (
        "Why did the ghost leave {film}? No body asked it to stay.",
        "My last joke had a twist ending, {asker}, but the projector ate it.",
        "A vampire walks into a cinema. The usher says: sir, the neck row is taken.",
        "I know a good one about a missing frame, but there is a gap in it.",
        "What do zombies order at the snack bar, {asker}? Whoever is serving.",
        "Knock knock, {asker}. In this film you really shouldn't answer that.",
    ),
    "rating": (
        "Seven out of ten, {asker}. I took points off for the fingernails.",
        "A firm eight, {asker}. The {word} alone is worth six of them.",
        "Four stars and a raised eyebrow.",
        "Nine out of ten. I keep the last point for myself, {asker}.",
        "Out of ten? Eleven in this light, {asker}. Two by day.",
    ),
    "opinion": (
        "Honestly, {asker}? {film} earns its keep, and I don't say that of every film.",
        "I liked it, {asker}, in the way one likes a cold shower: afterwards.",
        "I think {film} is cleverer than it lets on. Unlike me, I let on at once.",
        "Bleak, bold, a little dusty. I mean that as praise.",
        "My view, {asker}: when in doubt, stay out of the cellar.",
        "{film} knows what it wants. I respect that in a film, and in a sandwich.",
        "I would watch it again, {asker}, with the lights on and somebody to blame.",
        "Strong opinions need strong tea. Mine so far: good shadows, poor decisions.",
    ),
    "playing": (
        "That would be {title}. Sit down, {asker}, you're blocking the good part.",
        "{title}, {asker}. I looked twice, I have nothing else to do.",
        "On the screen: {title}. In my heart: also {title}.",
        "We are in the middle of {title}, {asker}. Act as if you had been here all along.",
        "Now showing: {title}. Applause is optional, but I notice.",
        "It says {title} on the can, {asker}, and I trust the can.",
    ),
    "playing_unknown": (
        "No idea, {asker}. Somebody left the label off the can.",
        "Nothing that I can see, {asker}. Enjoy the curtain.",
        "The screen is keeping it to itself, {asker}.",
    ),
    "who_said_found": (
        "That was {other}, {asker}. I keep receipts.",
        "{other} said it, {asker}, and without blushing.",
        "I have it down as {other}. The minutes don't lie, {asker}.",
        "Exhibit A: {other}, just now, in front of everybody.",
    ),
    "who_said": (
        "Nobody who is admitting to it, {asker}.",
        "Not in my notes, {asker}. It may have been the curtain.",
        "I missed that one, {asker}. I was looking at the screen, like one does.",
    ),
    "explain": (
        "Because somebody had a budget and a dream, {asker}, and the budget ran out first.",
        "Short version, {asker}: it's lonely, it's old, and it came for the {word}.",
        "I blame the {word}. One always should.",
        "Picture a landlord with terrible teeth and no sense of personal space. There, explained.",
        "Some things are better felt than explained, {asker}. This is neither, sadly.",
        "In {film}, things happen because the shadows say so.",
    ),
    "yes_no": (
        "Yes, {asker}, and I would put that in writing if I had hands.",
        "No, {asker}. But I admire the question.",
        "Only on film nights, {asker}.",
        "Almost certainly. Ask {other}, and look surprised when I turn out to be right.",
        "I would say yes, {asker}. Then again, I said yes to the popcorn.",
        "Not that I have noticed, and I notice most things about {film}.",
        "Technically yes. Emotionally, ask me after the credits.",
        "Strictly between us and everybody here: no.",
        "The {word} says yes, {asker}. I would listen to the {word}.",
        "Probably, {asker}. {film} has taught me never to rule it out.",
    ),
    "question": (
        "A fine question, {asker}. The film refuses to answer it, so I will too.",
        "I have three theories about the {word}, {asker}, and none survives daylight.",
        "Let me put it this way, {asker}: keep an eye on the {word}.",
        "Nobody knows, {asker}, and {other} knows least of all.",
        "The answer is in {film}, {asker}, about four minutes after you stop looking.",
        "If I knew that, {asker}, I would be the sequel.",
        "Ask me again when the lights come up.",
        "My sources say popcorn, {asker}. My sources always say popcorn.",
    ),
    "greeting": (
        "Evening, {asker}! You're just in time for the part where nobody listens.",
        "Hello {asker}. Row five, left of the ghost.",
        "Good to see you, {asker}. {film} was about to miss you.",
        "Hey {asker}. Grab a seat, any seat, not that one.",
        "Welcome back, {asker}. Nothing has improved on the screen.",
    ),
    "statement": (
        "Noted, {asker}. I've filed it under {word}.",
        "Somebody had to say it, {asker}. I'm glad it was you.",
        "I'll remember that about the {word}, {asker}.",
        "True enough. And {film} isn't even trying to stop us.",
        "{asker} has the floor. Mind the floor, it creaks.",
        "Agreed, {asker}. Let the record show it, and let {other} weep.",
        "Bold words for somebody within reach of the screen.",
        "And they say nobody talks about the {word} any more.",
        "I do what I can, {asker}. Mostly I hum.",
        "That's the spirit, {asker}. Possibly literally.",
    ),
    "think": (
        "<think>{asker} wants me to think about the {word}. Keep it short, keep it kind, and don't"
        " let the room see this part.</think>\nMy verdict on the {word}, {asker}: it has feelings,"
        " and they are salty.",
        "<think>The {word} again. I could be honest. I will be charming.</think>\n"
        "I have thought it through, {asker}: yes to the {word}, in moderation.",
    ),
    "markdown": (
        "## Snacks for {asker}\n1. **Popcorn**, the *good* kind\n2. `soup`, in a flask\n"
        "3. ~~Garlic~~ not for the second film",
        "### The order of {asker}\n- **First:** something *salty*\n- **Then:** something sweet\n"
        "- **Never:** `the last slice`",
    ),
    "link": (
        "Of course, {asker}: https://example.org/restoration-notes has every scratch explained.",
        "Here you go, {asker}: https://example.org/trivia tells it better than I do.",
    ),
    "long": (
        "Gather round, {asker}. There was once a projectionist who had never seen an ending. Each"
        " night the bell of the last tram called her away one reel too soon. She knew a thousand"
        " beginnings by heart, and all the middles. One winter the tram was snowed in. She let the"
        " last reel run, sat down in the empty stalls and watched. When the lights came up she was"
        " smiling. And what happened, asked the usher. They all go home, she said. Every one of"
        " them, in every film, in the end they all go home. He never learned which film it was."
        " She kept the stub of the ticket in her shoe for luck, and she never hurried for a tram"
        " again. Some say that she is up there still, humming along with the sprockets.",
    ),
}
