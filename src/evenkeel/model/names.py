"""Domain names as evenkeel writes them: absolute, lowercase, with the final dot (RFC 1035 section 2.3.1).

A name is a plain `str`, so that it hashes and compares at the speed of one; `absolute` is the one door
through which a name enters.
"""

from __future__ import annotations

import re

from evenkeel.model.errors import InputError

MAX_NAME_OCTETS = 255
MAX_LABEL_OCTETS = 63
# LDH plus the underscore that service labels begin with (RFC 8552).
_LABEL = re.compile(r"(?!-)[a-z0-9_-]+(?<!-)\Z")


def absolute(text: str, where: str = "name") -> str:
    """`text` as an absolute lowercase name. Raises `InputError` that names `where` and the bad label."""
    name = text.strip().lower()
    if not name.endswith("."):
        name += "."
    labels = name[:-1].split(".")
    for label in labels:
        if not _LABEL.match(label) or len(label) > MAX_LABEL_OCTETS:
            raise InputError.one(
                where,
                f"{text!r} is not a domain name: label {label!r}",
                "use labels of 1 to 63 letters, digits, hyphens or underscores",
            )
    if len(name) + 1 > MAX_NAME_OCTETS:
        raise InputError.one(where, f"{text!r} is longer than {MAX_NAME_OCTETS} octets", "shorten the name")
    return name


def is_at_or_under(name: str, parent: str) -> bool:
    """Whether `name` is `parent` or stands below it; both absolute."""
    return parent == "." or name == parent or name.endswith("." + parent)
