"""`llm-bot schema`: the JSON Schema of the configuration, for editors."""

from __future__ import annotations

import json
from typing import Any

from llm_bot.cli.output import ExitCode
from llm_bot.config import Config

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
# A field that isn't free text may still come from the environment, so an editor must allow it.
_FROM_ENVIRONMENT = {"type": "string", "pattern": r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$"}
_NARROW = ("enum", "const", "pattern")
_NUMBERS_AND_FLAGS = frozenset({"integer", "number", "boolean"})


def run(**_config: object) -> int:
    """Print the schema, which is the same whatever configuration is named. Always 0."""
    print(json.dumps(configuration_schema(), indent=2))
    return ExitCode.OK


def configuration_schema() -> dict[str, Any]:
    """The schema; unknown keys are refused, so that an editor shows them."""
    schema = Config.model_json_schema()
    for section in (schema, *schema["$defs"].values()):
        fields = section.get("properties", {})  # JsonValue, which is any value, has none
        for name, field in fields.items():
            fields[name] = _with_reference(field, name)
    return {"$schema": _DIALECT, **schema, "title": "llm_bot configuration"}


def _with_reference(field: dict[str, Any], name: str) -> dict[str, Any]:
    """`field`, which `${NAME}` satisfies too. `type` stays as it is: it tells triggers apart."""
    if name == "type" or not _is_narrow(field):
        return field
    about: dict[str, Any] = {
        key: field[key] for key in ("title", "description", "default") if key in field
    }
    asked = {key: value for key, value in field.items() if key not in about}
    return {**about, "anyOf": [*asked.get("anyOf", [asked]), _FROM_ENVIRONMENT]}


def _is_narrow(field: dict[str, Any]) -> bool:
    choices = field.get("anyOf", [field])
    return any(
        choice.get("type") in _NUMBERS_AND_FLAGS or any(key in choice for key in _NARROW)
        for choice in choices
    )
