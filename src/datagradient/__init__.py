"""Which training samples hurt a model: audits of a user's own data, scores of their models, and a replication.

The paper is "The Data Gradient", DOI 10.70389/pjcs.100014. Public names are imported on first use.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datagradient.auditing.run import Audit, audit
    from datagradient.interface import InfluenceResult, Verification, influence_scores
    from datagradient.interface.recorder import Recorder

__version__ = "1.0.0"
__all__ = ["Audit", "InfluenceResult", "Recorder", "Verification", "__version__", "audit", "influence_scores"]
# Where a public name is, if not in `interface`.
HOMES = {"Audit": "auditing.run", "audit": "auditing.run", "Recorder": "interface.recorder"}


if not TYPE_CHECKING:  # for a type checker another name is an error

    def __getattr__(name: str) -> Any:
        """Import a public name on first use."""
        if name in __all__:
            import importlib

            return getattr(importlib.import_module(f"{__name__}.{HOMES.get(name, 'interface')}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
