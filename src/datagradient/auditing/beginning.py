"""The beginning of an audit: its first words come before what models need is imported."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from datagradient.auditing.folder import Place
from datagradient.auditing.reading import introduction, read_all
from datagradient.auditing.request import Request

if TYPE_CHECKING:
    from datagradient.auditing.setup import Prepared


def begin(request: Request, place: Place | None, said: Callable[[str], None]) -> "Prepared":
    """Read the data, say what was found, choose a model, and begin an audit in its folder, or go on with it.

    Raises:
        UserError: the data, an option or the folder is wrong; then nothing was written.
    """
    request.prepare_device()
    read = read_all(request)
    for line in introduction(read):
        said(line)
    facts = request.facts(read.checksums, read.source.facts["path"])
    if place is not None:
        place.check(facts)
    from datagradient.auditing.setup import look_at, store_choice, stored_choice

    if place is None:
        return look_at(read, request.options, None, said, request.own)
    chosen = stored_choice(place.path) if place.begun else None
    prepared = look_at(read, request.options, chosen, said, request.own)
    place.begin(facts)
    store_choice(place.path, prepared)
    return prepared
