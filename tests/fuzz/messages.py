"""Random protobuf messages from their descriptors: extreme numbers, unknown enum values, odd and known texts."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

# Values of a field by its name, beside random ones: what a service knows leads further into it than noise.
Known = Mapping[str, Sequence[Any]]
# Messages inside messages; the contract has no deeper ones that callers send.
DEPTH = 5
MOST_ITEMS = 4

_TEXT = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            "",
            "\x00",
            "a\x00b",
            "\r\n",
            "\ufeff",
            "\ufffd",
            "\U0010ffff",
            "é" * 300,
            "a" * 5000,
            "%00",
            "../",
            "{",
            "'",
        ]
    ),
)
_BYTES = st.binary(max_size=40)
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_FLOATS = st.one_of(
    st.sampled_from([0.0, -0.0, 0.5, 1.0, -1.0, math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324]),
    st.floats(),
)


def messages(descriptor: Descriptor, known: Known, depth: int = DEPTH) -> st.SearchStrategy[Message]:
    """Messages of a type, of which each field is set in most examples."""
    fields = {field.name: _values(field, known, depth) for field in descriptor.fields}
    made = GetMessageClass(descriptor)
    return st.fixed_dictionaries({}, optional=fields).map(lambda given: _filled(made(), given))


def _filled(message: Message, given: Mapping[str, Any]) -> Message:
    for name, value in given.items():
        field = message.DESCRIPTOR.fields_by_name[name]
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            items = getattr(message, name)
            for entry in value:
                items[entry.key] = entry.value
        elif field.is_repeated:
            getattr(message, name).extend(value)
        elif field.message_type is not None:
            getattr(message, name).CopyFrom(value)
        else:
            setattr(message, name, value)
    return message


def _values(field: FieldDescriptor, known: Known, depth: int) -> st.SearchStrategy[Any]:
    one = _value(field, known, depth)
    if not field.is_repeated:
        return one
    # Now and then very many.
    return st.one_of(st.lists(one, max_size=MOST_ITEMS), st.builds(lambda item: [item] * 300, one))


def _value(field: FieldDescriptor, known: Known, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type is not None:
        return messages(field.message_type, known, depth - 1) if depth else st.nothing()
    if field.enum_type is not None:
        numbers = [value.number for value in field.enum_type.values]
        value: st.SearchStrategy[Any] = st.sampled_from([*numbers, -1, 2**31 - 1, -(2**31)])
    elif field.cpp_type in _RANGES:
        low, high = _RANGES[field.cpp_type]
        value = st.one_of(st.sampled_from([low, high, 0, 1]), st.integers(low, high), st.integers(0, 1000))
    elif field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        value = st.booleans()
    elif field.type == FieldDescriptor.TYPE_STRING:
        value = _TEXT
    elif field.type == FieldDescriptor.TYPE_BYTES:
        value = _BYTES
    else:
        value = _FLOATS
        if field.cpp_type == FieldDescriptor.CPPTYPE_FLOAT:
            value = st.floats(width=32)
    # One name may stand for a text here and for a number there.
    fitting = [
        one
        for one in known.get(field.name, ())
        if isinstance(one, str) == (field.type == FieldDescriptor.TYPE_STRING)
    ]
    return st.one_of(st.sampled_from(fitting), value) if fitting else value
