"""Read what the docstring of a config says of each field.

A config dataclass documents every field under `Attributes:` of its docstring (Google style). `--help`, errors and the
docs take these entries, so that a key is explained in one place.
"""

import inspect
import re

ENTRY = re.compile(r"^    (\w+): (.*(?:\n(?: {5,}.*|[ \t]*$))*)", re.MULTILINE)
SECTION = re.compile(r"^Attributes:[ \t]*\n((?:(?: .*)?(?:\n|\Z))*)", re.MULTILINE)
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[^a-z\s])")


def attribute_texts(schema: type) -> dict[str, str]:
    """Read the entries under `Attributes:` of a dataclass, and of the classes that it extends.

    Args:
        schema: Dataclass.

    Returns:
        Text of each field, on one line.
    """
    texts: dict[str, str] = {}
    for base in reversed(schema.__mro__):
        section = SECTION.search(inspect.cleandoc(base.__doc__ or ""))
        if section:
            texts |= {name: " ".join(text.split()) for name, text in ENTRY.findall(section[1])}
    return texts


def first_sentence(text: str) -> str:
    """Return the first sentence of a text.

    Args:
        text: Text on one line.

    Returns:
        The sentence.
    """
    return SENTENCE.split(text, maxsplit=1)[0]
