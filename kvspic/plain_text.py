"""YAML or JSON text to plain data: mappings with text keys, lists, texts, numbers, flags, None. Pure.

What a person wrote by mistake is refused, not guessed: a key that comes twice, of which YAML would keep the last one, a
date, a key that is no text; and so is text that was made to hurt: YAML that contains itself, or grows by references.
JSON is read without PyYAML.
"""

from __future__ import annotations

import json
from typing import Any

__all__ = ["PlainTextError", "parse_text"]

_TEXT_MAX = 4 * 1024 * 1024
_DEPTH_MAX = 20
_VALUES_MAX = 1_000_000


class PlainTextError(ValueError):
    """The text cannot be used. The message goes on after a name of the file, as in "has a key twice"."""


def parse_text(text: str, extra: str) -> Any:
    """Return what a text stands for; ``extra`` is the extra of kvspic that brings PyYAML.

    Raises:
        PlainTextError: it is neither YAML nor JSON, too large or too deep, or has what JSON has not.
    """
    if len(text) > _TEXT_MAX:
        raise PlainTextError(f"has {len(text)} characters; at most {_TEXT_MAX} are read.")
    return _plain(_parsed(text, extra), 1, [_VALUES_MAX])


def _parsed(text: str, extra: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once)  # first, because JSON indented by tabs is no YAML
    except PlainTextError:
        raise
    except (ValueError, RecursionError):
        pass
    try:
        import yaml
    except ImportError:
        raise PlainTextError(f"is no JSON, and YAML needs PyYAML: pip install 'kvspic[{extra}]'.") from None
    try:
        return yaml.load(text, Loader=_strict(yaml))
    except yaml.YAMLError as error:
        raise PlainTextError(f"is neither YAML nor JSON ({' '.join(str(error).split())}).") from None
    except RecursionError:
        raise PlainTextError(f"is nested deeper than {_DEPTH_MAX}.") from None
    except ValueError as error:  # such as a date that does not exist
        raise PlainTextError(f"has a value that cannot be read ({error}); put it in quotes.") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise PlainTextError(f"has the key {name!r:.80} twice in one mapping: keep one of them.")
        made[name] = value
    return made


def _strict(yaml: Any) -> Any:
    """A loader that makes plain data only, and refuses a key that comes twice."""

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen = set()
            for key, _ in node.value:
                name = key.value if isinstance(key, yaml.ScalarNode) else None
                if name is not None and name in seen and name != "<<":
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {name!r} comes twice in one mapping", key.start_mark
                    )
                seen.add(name)
            return super().construct_mapping(node, deep)

    return Loader


def _plain(value: Any, depth: int, left: list[int]) -> Any:
    """Copy what a loader made."""
    left[0] -= 1
    if left[0] < 0:
        raise PlainTextError(f"stands for more than {_VALUES_MAX} values: its references multiply.")
    if depth > _DEPTH_MAX:
        raise PlainTextError(f"is nested deeper than {_DEPTH_MAX}, or a part of it contains itself.")
    if isinstance(value, dict):
        return {_key(key): _plain(member, depth + 1, left) for key, member in value.items()}
    if isinstance(value, list):
        return [_plain(member, depth + 1, left) for member in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise PlainTextError(f"has a value of a kind that JSON does not have ({value!r:.80}); put it in quotes.")


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise PlainTextError(f"has the key {key!r:.80}, which is no text; put it in quotes.")
    return key
