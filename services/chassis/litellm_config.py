"""Reads LiteLLM's own `litellm_config.yaml`, without ever holding a key.

The file's spelling is LiteLLM's, with `env/NAME` beside `os.environ/NAME` and flat `fallbacks`. A setting that Lumni
does not act on is warned about, and one that guards money, limits or auth is refused (`litellm_settings`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from services.chassis import litellm_deployments, litellm_settings, yaml
from services.chassis.config import Mistakes
from services.chassis.deployments import Fleet, reference
from services.chassis.yaml import Section

ROUTING_STRATEGIES = (
    "simple-shuffle",
    "least-busy",
    "usage-based-routing",
    "usage-based-routing-v2",
    "latency-based-routing",
    "cost-based-routing",
)


@dataclass(frozen=True, slots=True)
class Examined:
    """What a file says, and what is wrong with it: the fleet is what would be in force without the mistakes."""

    fleet: Fleet
    mistakes: tuple[str, ...]


def load(path: Path) -> Fleet:
    """Read and validate `litellm_config.yaml`.

    Raises:
        Mistakes: every one, with its line.
    """
    root, fleet = _read(path)
    root.finish()
    return fleet


def examine(path: Path) -> Examined:
    """Read a file with its mistakes, to show all there is to say of it.

    Raises:
        Mistakes: it is not there, or no YAML mapping.
    """
    root, fleet = _read(path)
    try:
        root.finish()
    except Mistakes as mistakes:
        return Examined(fleet, tuple(mistakes.lines))
    return Examined(fleet, ())


def _read(path: Path) -> tuple[Section, Fleet]:
    root = yaml.load(path)
    litellm_settings.judge(root, "")
    _check_general(root.section("general_settings"), root.section("environment_variables"))
    router, litellm = root.section("router_settings"), root.section("litellm_settings")
    litellm_settings.judge(router, "router_settings")
    litellm_settings.judge(litellm, "litellm_settings")
    litellm_settings.check_fixed(router, litellm)
    drops = litellm.flag("drop_params", default=False)
    deployments = litellm_deployments.read(root.items("model_list"), drops=drops)
    if not deployments:
        root.mistake("model_list", "expected at least one deployment")
    aliases = dict(_aliases(router))
    names = {deployment.model for deployment in deployments} | aliases.keys()
    both = (router, litellm)
    fleet = Fleet(
        deployments=deployments,
        aliases=aliases,
        fallbacks=_fallbacks(both, "fallbacks", names),
        context_window_fallbacks=_fallbacks(both, "context_window_fallbacks", names),
        content_policy_fallbacks=_fallbacks(both, "content_policy_fallbacks", names),
        default_fallbacks=tuple(name for part in both for name in part.texts("default_fallbacks")),
        routing_strategy=router.choice("routing_strategy", ROUTING_STRATEGIES, "simple-shuffle"),
        num_retries=router.integer("num_retries", litellm.integer("num_retries", 2, low=0), low=0),
        timeout_s=router.number("timeout", litellm.number("request_timeout", 120.0, low=0.001), low=0.001),
        allowed_fails=router.integer("allowed_fails", litellm.integer("allowed_fails", 3, low=0), low=0),
        cooldown_s=router.number("cooldown_time", 30.0, low=0),
    )
    return root, replace(fleet, warnings=root.warnings)


def _check_general(general: Section, variables: Section) -> None:
    litellm_settings.judge(general, "general_settings")
    if (key := general.text("master_key", "")) and not reference(key):
        general.warn("master_key", "the admin key stands in the file; put it into LUMNI_ADMIN_KEY")
    for name in variables.keys:
        if variables.text(name, "") and name.endswith(("_KEY", "_TOKEN", "_SECRET", "_PASSWORD")):
            variables.warn(name, "a secret stands in the file; put it into the environment")


def _aliases(router: Section) -> Iterator[tuple[str, str]]:
    aliases = router.section("model_group_alias")
    for alias in aliases.keys:
        target = aliases.plain(alias, None)
        if isinstance(target, dict):
            for key in sorted(target.keys() - {"model"}):
                aliases.warn(alias, f"{key}: Lumni does not know it; ignored")
            target = target.get("model", "")
        yield alias, str(target)


def _fallbacks(sections: Iterable[Section], key: str, names: set[str]) -> dict[str, tuple[str, ...]]:
    """Read `[{a: [b, c]}]`, or flat `{a: [b, c]}`."""
    found: dict[str, tuple[str, ...]] = {}
    for section in sections:
        flat = isinstance(section.plain(key, None), dict)
        for entry in [section.section(key)] if flat else section.items(key):
            for model in entry.keys:
                found[model] = entry.texts(model)
                for name in {model, *found[model]} - names - {"*"}:
                    entry.mistake(model, f"{name}: no such model in model_list")
    return found
