"""No comparison with == of what an attacker could guess byte by byte from the time it takes: read from the source itself."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import tiandi.kms

SOURCE = Path(tiandi.kms.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
TELLING = re.compile(
    r"tag|digest|secret|mac\b|password|passphrase|token|nonce|signature|(^|_|\.)keys?$|sealed|wrapped|pad\b|seed|probe", re.IGNORECASE
)
OPERATORS = (ast.Eq, ast.NotEq, ast.In, ast.NotIn)
# What is compared is public, is a name, or is this process's own on both sides.
HARMLESS = {
    ("audit.py", "ledger.page_digest(previous, chain, number, entries) != digest"),
    ("audit.py", "digest != head.digest"),
    ("audit_tables.py", "sealed_byte != wanted"),
    ("backup.py", "ledger.page_digest(previous, chain, number, entries) != digest"),
    ("backup.py", "name in table.secret"),
    ("backup.py", "words[0] in SECRET_COLUMNS"),
    ("backup.py", "(name, words[0]) in SECRET_MESSAGES"),
    ("backup.py", "words[0] in secret"),
    ("conversation.py", "by_id.keys() != set(key_ids)"),
    ("master_keys.py", "name not in _TOKEN_ATTRIBUTES"),
    ("master_keys.py", "key[attribute.VALUE_LEN] != MASTER_KEY_BYTE"),
    ("operations.py", "master_key.unwrap(master_key.wrap(probe, context), context) != probe"),
    ("answering.py", "question.kem_public not in kem_keys"),
    ("sealing.py", "new.unwrap(anew, _context(store, number)) != data_key"),
    ("etsi004_box.py", "status == Status.INSUFFICIENT_KEY"),
    ("etsi004_box.py", "error.status == Status.INSUFFICIENT_KEY"),
}


def last_name(node: ast.expr) -> str:
    """What an expression is called by."""
    match node:
        case ast.Call(func=function):
            return last_name(function)
        case ast.Subscript(value=value):
            return last_name(value)
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


def suspicious(text: str) -> list[str]:
    """Comparisons of something whose name tells that it must not be compared so."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Compare) and any(isinstance(operator, OPERATORS) for operator in node.ops):
            names = [last_name(side) for side in (node.left, *node.comparators)]
            if any(TELLING.search(name) for name in names):
                found.append(ast.unparse(node))
    return found


def test_the_check_finds_what_it_looks_for() -> None:
    text = "a.tag == b\nif digest != x: pass\nhmac.digest(k) == y\npassphrase in z\nkey[3:] == w\nkind == 'sae'\nlen(x) == 3"
    assert suspicious(text) == ["a.tag == b", "digest != x", "hmac.digest(k) == y", "passphrase in z", "key[3:] == w"]


def test_nothing_secret_is_compared_by_its_first_difference() -> None:
    found = {(path.name, comparison) for path in FILES for comparison in suspicious(path.read_text())}
    assert found <= HARMLESS


def test_every_tag_that_came_is_compared_in_constant_time() -> None:
    """A tag of a message is read for nothing but to verify it."""
    read, verified = 0, 0
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr == "tag":
                read += 1
            if isinstance(node, ast.Call) and last_name(node.func) in {"verify_one_time_tag", "compare_digest"}:
                verified += any(isinstance(given, ast.Attribute) and given.attr == "tag" for given in node.args)
    assert read == verified > 3
