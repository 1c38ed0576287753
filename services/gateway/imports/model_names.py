"""Which models a key of another gateway may use, in the names that callers use here."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from services.chassis.deployments import Fleet

# Words of LiteLLM that stand for all models.
ALL = frozenset(("all-proxy-models", "*"))


class ModelNames:
    """The models and groups of `litellm_config.yaml`."""

    def __init__(self, fleet: Fleet) -> None:
        self._groups: dict[str, set[str]] = {}
        self._models = {one.model for one in fleet.deployments} | set(fleet.aliases)
        for one in fleet.deployments:
            for group in one.access_groups:
                self._groups.setdefault(group, set()).add(one.model)

    def scope(self, names: Sequence[str]) -> frozenset[str] | None:
        """The models that a list allows: groups and wildcards become their models; None is every model."""
        if not names or ALL & set(names):
            return None
        return frozenset(model for name in names for model in self._meant(name))

    def unknown(self, names: Iterable[str]) -> list[str]:
        """Those of the names that no deployment has."""
        return sorted(set(names) - self._models)

    def _meant(self, name: str) -> set[str]:
        if name in self._models:
            return {name}
        if name in self._groups:
            return self._groups[name]
        if "*" in name:
            return {model for model in self._models if fnmatchcase(model, name)}
        return {name}


def within(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    """What both allow; None is every model, and the empty set none at all."""
    if one is None:
        return other
    return one if other is None else one & other
