"""The page's pure modules, in Node: their own tests, and their check of arguments beside the server's."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from random import Random
from typing import Any

import jsonschema
import pytest

from tests.support.node import NODE

HERE = Path(__file__).parent
SCHEMAS: tuple[dict[str, Any], ...] = (
    {"type": "string"},
    {"type": "string", "minLength": 2, "maxLength": 4},
    {"type": "string", "pattern": "^a+$"},
    {"type": "integer", "minimum": 1, "exclusiveMaximum": 5},
    {"type": "number", "multipleOf": 0.5},
    {"type": "boolean"},
    {"enum": ["a", 1, None, True]},
    {"const": "aa"},
    {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    {"oneOf": [{"type": "integer"}, {"type": "number"}]},
    {"type": ["string", "null"]},
    {"type": "array", "items": {"type": "integer"}, "maxItems": 2, "uniqueItems": True},
    {"$ref": "#/$defs/Where"},
    {"not": {"type": "string"}},
    {},
)
VALUES: tuple[Any, ...] = (
    *("", "a", "aa", "aaaaa", "b", 0, 1, 4, 5, 1.5, 0.3, True, False, None),
    *([], [1, 1], [1, 2], [1, 2, 3], {"a": 1}),
)


@pytest.mark.parametrize("tests", ["pure.test.mjs", "state.test.mjs"])
def test_the_modules_do_what_their_tests_say(tests: str) -> None:
    done = subprocess.run([NODE, "--test", HERE / tests], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_arguments_are_wrong_in_the_page_where_the_server_would_refuse_them() -> None:
    """G11: a person learns of it before it is sent, and nothing good is held back."""
    random = Random(1)
    cases: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for _ in range(1500):
        schema = {
            "type": "object",
            "properties": {name: random.choice(SCHEMAS) for name in "xyz"},
            "required": random.sample("xyz", random.randrange(3)),
            "additionalProperties": random.choice((True, False, {"type": "string"})),
            "$defs": {"Where": {"enum": ["a", "b"]}},
        }
        args = {name: random.choice(VALUES) for name in random.sample("wxyz", random.randrange(4))}
        cases.append((schema, args))
    done = subprocess.run(
        [NODE, HERE / "check_driver.mjs"], input=json.dumps(cases), capture_output=True, text=True, check=True
    )
    validator: Any = jsonschema.Draft202012Validator
    expected: list[bool] = [validator(schema).is_valid(args) for schema, args in cases]
    assert json.loads(done.stdout) == expected
    assert 200 < sum(expected) < 1300
