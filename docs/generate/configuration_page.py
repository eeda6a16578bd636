"""docs/CONFIGURATION.md: every key, as the models have it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from docs.generate.configuration_schema import Key, Schema, Sections, choice, whole_schema
from docs.generate.configuration_words import INTRODUCTIONS, NOTES, TOP
from docs.generate.markdown import GENERATED, fenced, page, table
from llm_bot.config import NEEDS_RESTART

HEADINGS = ("key", "what it may be", "default", "change", "what it does")

# Long texts, shown below their table.
LONG = ("system_prompt", "user_prompt_template", "participation_prompt")


def configuration_page() -> str:
    """The text of the page."""
    schema = whole_schema()
    sections = Sections(schema)
    parts = [GENERATED, TOP]
    scalars = list(sections.keys(schema, ""))
    for name, field in schema["properties"].items():
        if section := sections.section_of(field):
            parts += _section(sections, section, name, field, depth=2)
        elif kinds := sections.items_of(field):
            parts += _list(sections, kinds, name, field)
    process = "## The process\n\nKeys at the top of the file, in no section."
    return page(*parts, process, _keys(scalars))


def all_keys() -> list[Key]:
    """Every plain key of the configuration, as the page lists it."""
    return list(_walk(Sections(whole_schema()), whole_schema(), ""))


def _walk(sections: Sections, section: Schema, prefix: str) -> Iterator[Key]:
    yield from sections.keys(section, prefix)
    for name, field in section["properties"].items():
        for each_choice in field.get("anyOf", [field]):
            inner = sections.section_of(each_choice)
            for each in [inner] if inner is not None else []:
                if prefix != "channels[]." or name == "rate_limit":
                    yield from _walk(sections, each, f"{prefix}{name}.")
            if prefix != "channels[]." and name != "fallbacks":
                for each in sections.items_of(each_choice):
                    yield from _walk(sections, each, f"{prefix}{name}[].")


def _section(
    sections: Sections, section: Schema, path: str, field: Schema, *, depth: int
) -> Iterator[str]:
    what = field.get("description") or section["description"]
    yield f"{'#' * depth} `{path}`\n\n{what}"
    yield INTRODUCTIONS.get(path, "")
    yield _keys(sections.keys(section, f"{path}."))
    yield from _long_texts(section, path)
    for name, inner in section["properties"].items():
        inside = f"{path}.{name}"
        if found := sections.section_of(inner):
            yield from _section(sections, found, inside, inner, depth=depth + 1)
        elif sections.items_of(inner):
            yield _fallbacks(inside, inner)


def _fallbacks(path: str, field: Schema) -> str:
    """The one list of sections inside of a section, whose keys are those of its parent."""
    return (
        f"### `{path}`\n\n{field['description']} Up to {field['maxItems']}, each with the keys of"
        " [`llm_api`](#llm_api) from `provider` to `vision_model`, its own `breaker` and"
        " `parameters`, and the same defaults. Nothing is taken over from the first provider. A"
        " change takes effect at a reload."
    )


def _list(sections: Sections, kinds: list[Schema], path: str, field: Schema) -> Iterator[str]:
    yield f"## `{path}`\n\n{field['description']}"
    yield INTRODUCTIONS.get(path, "")
    if len(kinds) == 1:
        yield _keys(sections.keys(kinds[0], f"{path}[]."))
        return
    common = set.intersection(*(set(kind["properties"]) for kind in kinds)) - {"type"}
    first = {key.path: key for key in sections.keys(kinds[0], f"{path}[].")}
    yield "Keys of all types:"
    types = choice(_type_of(kind) for kind in kinds)
    type_key = Key(f"{path}[].type", types, None, "Which trigger it is.")
    shared = [key for key in first.values() if key.path.rpartition(".")[2] in common]
    yield _keys([type_key, *(_with_other_defaults(sections, key, kinds) for key in shared)])
    for kind in kinds:
        yield f"### Type `{_type_of(kind)}`\n\n{kind['description']}"
        keys = sections.keys(kind, f"{path}[].")
        own = [key for key in keys if key.path.rpartition(".")[2] not in common | {"type"}]
        yield _keys(own) if own else "No keys of its own."
        yield from _long_texts(kind, f"{path}[]")
    limits = kinds[0]["properties"]["rate_limit"]["anyOf"][0]
    if found := sections.section_of(limits):
        yield f"### `{path}[].rate_limit`\n\n{found['description']}"
        yield _keys(sections.keys(found, f"{path}[].rate_limit."))


def _type_of(kind: Schema) -> str:
    return str(kind["properties"]["type"]["const"])


def _with_other_defaults(sections: Sections, key: Key, kinds: list[Schema]) -> Key:
    """`key` of the first kind, its default said apart where another kind has another."""
    default = key.default or ""
    what = key.what
    for kind in kinds[1:]:
        prefix = key.path.rpartition(".")[0] + "."
        other = next(one for one in sections.keys(kind, prefix) if one.path == key.path)
        if other.default != key.default:
            what = f"{what} For `{_type_of(kind)}` the default is `{other.default}`: {other.what}"
    return Key(key.path, key.kind, default, what)


def _keys(keys: Iterable[Key]) -> str:
    return table(HEADINGS, (_row(key) for key in keys))


def _row(key: Key) -> tuple[str, ...]:
    change = "restart" if key.path.partition(".")[0] in NEEDS_RESTART else "reload"
    note = NOTES.get(key.path, "")
    default = f"`{key.default}`" if key.default else "shown below"
    default = "**required**" if key.default is None else default
    return f"`{key.path}`", key.kind, default, change, f"{key.what} {note}".replace("**", "\\*\\*")


def _long_texts(section: Schema, path: str) -> Iterator[str]:
    for name in LONG:
        if name in section["properties"]:
            default = section["properties"][name]["default"]
            yield f"The default of `{path}.{name}`:\n\n{fenced('text', default)}"
