"""What can be pulled by its name alone."""

import re

from rbee.models.catalogue import entries
from rbee.models.names import File, Plain, parse


def test_each_entry_leads_to_a_source_that_is_not_here():
    """A name, its sources in the form that a person could type, and what the file must be."""
    assert entries()
    for name, entry in entries().items():
        assert parse(name) == Plain(name)
        assert entry.sources and entry.size_bytes > 0
        assert re.fullmatch("sha256:[0-9a-f]{64}", entry.digest)
        for source in entry.sources:
            assert not isinstance(parse(source), Plain | File)
            assert parse(source).ref == source
