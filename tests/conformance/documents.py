"""What the documents in schemas/ promise, judged by validators that are not ours.

usage: documents.py TOOLS FOLDER; TOOLS has AsyncAPI's own schemas below node_modules

Leaves FOLDER/golden.jsonl and FOLDER/broken.jsonl: every golden event, and every one of them with just one thing wrong.
The ledger must take all of the first and nothing of the second, as the schemas do.
"""

import copy
import json
import sys
from pathlib import Path

from jsonschema import Draft7Validator, Draft202012Validator
from openapi_spec_validator import validate as check_openapi

SCHEMAS = Path(__file__).parents[2] / "schemas"
OF_EACH_TYPE = [7, True, "x", ["x"], {"x": "x"}]
NO_AMOUNTS = ["-1.00", "1.000", "1.0", "1", "01.00", "1,00", "", "10000000000.00"]
NO_FORMATS = {"date": "2025-02-30", "date-time": "2025-03-10 10:00", "uuid": "nobody"}


def read(path):
    return json.loads(Path(path).read_text())


def validator_of(event_type):
    schema = read(SCHEMAS / "json" / f"{event_type}.json")
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def parts(root, schema, value, path=(), required=True):
    """Every value inside of `value`: its path, its schema, itself, and whether it must be there."""
    definition = ""
    while "$ref" in schema or "anyOf" in schema:
        if "$ref" in schema:
            definition = schema["$ref"].removeprefix("#/$defs/")
            schema = root["$defs"][definition]
        else:
            schema = next(branch for branch in schema["anyOf"] if branch.get("type") != "null")
    yield path, {**schema, "definition": definition}, value, required
    for step, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        of_step = schema["properties"][step] if isinstance(value, dict) else schema["items"]
        yield from parts(root, of_step, inner, (*path, step), step in schema.get("required", [step]))


def broken(root, event):
    """Copies of the event with just one thing wrong, and what it is."""

    def changed(path, *value):
        copied = holder = copy.deepcopy(event)
        for step in path[:-1]:
            holder = holder[step]
        if value:
            holder[path[-1]] = value[0]
        else:
            del holder[path[-1]]
        return copied

    for path, schema, value, required in parts(root, root, event):
        place = ".".join(map(str, path)) or "the event"
        if isinstance(value, dict):
            for name in schema["required"]:
                yield f"{place} without {name}", changed((*path, name))
            if schema.get("additionalProperties") is False:
                yield f"{place} with an unknown field", changed((*path, "nobody_knows_this"), "x")
        if not path:
            continue
        wrong = [other for other in OF_EACH_TYPE if type(other) is not type(value)]
        if required:
            wrong.append(None)
        if schema["definition"] == "Amount":
            wrong += NO_AMOUNTS
        if {"const", "enum", "oneOf", "pattern"} & schema.keys():
            wrong.append("no such word")
        if schema.get("format") in NO_FORMATS:
            wrong.append(NO_FORMATS[schema["format"]])
        for other in wrong:
            yield f"{place} is {json.dumps(other)}", changed(path, other)


def check_events(folder):
    findings, golden_lines, broken_lines = [], [], []
    for kind in sorted((SCHEMAS / "golden").iterdir()):
        validator = validator_of(kind.name)
        for path in sorted(kind.iterdir()):
            event = read(path)
            golden_lines.append(json.dumps(event))
            findings += [f"{path.name} of {kind.name}: {error.message}" for error in validator.iter_errors(event)]
            for what, variation in broken(validator.schema, event):
                broken_lines.append(json.dumps(variation))
                if validator.is_valid(variation):
                    findings.append(f"{path.name} of {kind.name}, {what}: the schema takes it")
    (folder / "golden.jsonl").write_text("\n".join(golden_lines) + "\n")
    (folder / "broken.jsonl").write_text("\n".join(broken_lines) + "\n")
    print(f"JSON Schema: {len(golden_lines)} golden events, and {len(broken_lines)} with one thing wrong")
    return findings


def check_descriptions(tools):
    check_openapi(read(SCHEMAS / "openapi.json"))
    rules = read(tools / "node_modules/@asyncapi/specs/schemas/3.0.0.json")
    errors = list(Draft7Validator(rules).iter_errors(read(SCHEMAS / "asyncapi.json")))
    print(f"OpenAPI 3.1: valid; AsyncAPI 3.0: {'wrong' if errors else 'valid'}")
    return [f"asyncapi.json, {error.json_path}: {error.message:.200}" for error in errors]


if __name__ == "__main__":
    tools, folder = map(Path, sys.argv[1:])
    findings = check_events(folder) + check_descriptions(tools)
    sys.exit("\n".join(findings) or 0)
