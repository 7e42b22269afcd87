"""Compare answers with /schema: test clients pass every answer to `check`."""

import json
import re
from functools import cache
from typing import Any
from urllib.parse import unquote

import httpx
import jsonschema_rs
from threadline.routes.service import document

DOCUMENT: dict[str, Any] = json.loads(document())
METHODS = {"delete", "get", "options", "patch", "post", "put"}


class ContractError(AssertionError):
    """An answer differs from the document."""


def operations() -> dict[tuple[str, str], dict[str, Any]]:
    """Every operation of the document by its method (in capitals) and path."""
    return {
        (method.upper(), path): operation
        for path, item in DOCUMENT["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }


def resolve(node: dict[str, Any]) -> dict[str, Any]:
    """Resolve a reference; return anything else as it is."""
    while reference := node.get("$ref"):
        node = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
    return node


def parameters(method: str, path: str) -> list[dict[str, Any]]:
    """The parameters of an operation, with those of its path."""
    found = [*DOCUMENT["paths"][path].get("parameters", []), *operations()[method, path].get("parameters", [])]
    return [resolve(parameter) for parameter in found]


def check(response: httpx.Response) -> None:
    """Raise ContractError unless the document knows this answer to this request, headers and all.

    Paths outside the document, such as those of the Data API on the same port, are not checked.
    """
    method, path = response.request.method, template(response.request.url.raw_path.partition(b"?")[0].decode())
    if path is None:
        return
    where = f"{method} {path}: {response.status_code}"
    if (method, path) not in operations():
        if response.status_code not in {204, 404, 405}:
            raise ContractError(f"{where}, though the document has no such operation")
        return
    described = operations()[method, path]["responses"].get(str(response.status_code))
    if described is None:
        raise ContractError(f"{where} is not in the document")
    described = resolve(described)
    for name, header in described.get("headers", {}).items():
        check_header(where, name, resolve(header), response.headers.get(name))
    if "content" in described:
        [(media_type, content)] = described["content"].items()
        if response.headers.get("content-type") != media_type:
            raise ContractError(f"{where} is {response.headers.get('content-type')}")
        body = json.loads(response.read()) if media_type == "application/json" else response.read().decode()
        for error in validator(json.dumps(content["schema"])).iter_errors(body):
            raise ContractError(f"{where}: {error}")


def check_header(where: str, name: str, described: dict[str, Any], value: str | None) -> None:
    """Raise ContractError unless a header is as described, or missing where it may be."""
    if value is None:
        if described.get("required"):
            raise ContractError(f"{where} has no {name}")
        return
    typed = int(value) if described["schema"].get("type") == "integer" and value.isdecimal() else value
    for error in validator(json.dumps(described["schema"])).iter_errors(typed):
        raise ContractError(f"{where}: {name}: {error}")


@cache
def template(path: str) -> str | None:
    """Find the documented path of a request; paths without variables win."""
    for candidate in sorted(DOCUMENT["paths"], key=lambda known: known.count("{")):
        if re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(candidate)), unquote(path, errors="replace")):
            return candidate
    return None


@cache
def validator(schema: str) -> Any:
    """Return a validator for a schema of the document that rejects undocumented fields."""
    components = {name: closed(each, is_closed=False) for name, each in DOCUMENT["components"]["schemas"].items()}
    root = {**closed(json.loads(schema)), "components": {"schemas": components}}
    return jsonschema_rs.Draft202012Validator(root, validate_formats=True)


def closed(schema: Any, is_closed: bool = True) -> Any:
    """Close the objects in a schema, and the schema itself if `is_closed`: no fields beyond those it names.

    The document leaves objects open because clients must accept new fields; a test must notice each new field.
    """
    if isinstance(schema, list):
        return [closed(each, is_closed) for each in schema]
    if not isinstance(schema, dict):
        return schema
    result = {
        name: {field: closed(each) for field, each in value.items()}
        if name == "properties"
        else closed(value, is_closed=name != "allOf")
        if name in {"items", "allOf", "anyOf", "oneOf"}
        else value
        for name, value in schema.items()
    }
    is_object = {"$ref", "properties", "allOf"} & schema.keys() and "additionalProperties" not in schema
    return {**result, "unevaluatedProperties": False} if is_closed and is_object else result
