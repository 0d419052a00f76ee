#!/usr/bin/env python3
"""schema.py NAME FILE: FILE is one JSON document that docs/schema/NAME.json describes ("-" is
standard input).  Prints what is not so, and ends with 1.  schema.py --all: the schemas are
schemas, and every reference in them leads somewhere.  schema.py --list FILE: for each line NAME,
FILE and some words, with tabs between them, prints these words, a tab and what is not so."""
import json
import os
import pathlib
import sys
import warnings

import jsonschema

# Its newer versions have another resolver, which Debian 12's has not.
warnings.simplefilter("ignore", DeprecationWarning)

FOLDER = pathlib.Path(os.environ["TOP"]) / "docs" / "schema"


def load(name):
    with open(FOLDER / f"{name}.json", encoding="utf-8") as f:
        return json.load(f)


def validator(schema):
    resolver = jsonschema.RefResolver(FOLDER.as_uri() + "/", schema, store={schema.get("$id", ""): schema})
    return jsonschema.validators.validator_for(schema)(schema, resolver=resolver)


def references(node):
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def check_all():
    for path in sorted(FOLDER.glob("*.json")):
        schema = load(path.stem)
        jsonschema.validators.validator_for(schema).check_schema(schema)
        for ref in references(schema):
            validator(schema).resolver.resolve(ref)


def errors_of(name, file):
    """What is not so of one document, a line each."""
    with sys.stdin if file == "-" else open(file, encoding="utf-8") as f:
        try:
            document = json.load(f)
        except ValueError as why:
            return [f"it is not JSON: {why}"]
    said = []
    for error in list(validator(load(name)).iter_errors(document))[:10]:
        # Of alternatives the nearest one tells what is wrong.
        error = jsonschema.exceptions.best_match([error])
        said.append(f"/{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}")
    return said


def check_list(file):
    for line in open(file, encoding="utf-8"):
        name, document, what = line.rstrip("\n").split("\t")
        print(what, "; ".join(errors_of(name, document)), sep="\t")


if sys.argv[1:] == ["--all"]:
    check_all()
elif sys.argv[1] == "--list":
    check_list(sys.argv[2])
else:
    errors = errors_of(sys.argv[1], sys.argv[2])
    print("\n".join(errors))
    sys.exit(bool(errors))
