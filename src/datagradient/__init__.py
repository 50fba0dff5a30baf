"""Which training samples hurt a model: scores for a user's own models, and a replication of "The Data Gradient".

The paper is DOI 10.70389/pjcs.100014. Public names are imported on first use.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datagradient.interface import InfluenceResult, Verification, influence_scores

__version__ = "0.1.0"
__all__ = ["InfluenceResult", "Verification", "__version__", "influence_scores"]


if not TYPE_CHECKING:  # for a type checker another name is an error

    def __getattr__(name: str) -> Any:
        """Import a public name on first use."""
        if name in __all__:
            from datagradient import interface

            return getattr(interface, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
