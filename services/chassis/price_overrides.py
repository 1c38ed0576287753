"""Prices that go before those of a fleet: a YAML mapping of models to prices in LiteLLM's words, in US dollars."""

from dataclasses import replace
from pathlib import Path

from services.chassis import prices, yaml
from services.chassis.deployments import Deployment, Fleet


def applied(fleet: Fleet, path: Path) -> Fleet:
    """A fleet at the prices of a file, whose names are models, ids of deployments, or LiteLLM's names of models.

    Raises:
        Mistakes: a name that means no deployment, or what is no price, with its line.
    """
    root = yaml.load(path)
    changed: dict[str, Deployment] = {}
    for name, stated in root.sections():
        info = {word: stated.plain(word, None) for word in stated.keys}
        for word in info.keys() - prices.OVERRIDES:
            stated.mistake(word, f"expected some of {', '.join(sorted(prices.OVERRIDES))}")
        meant = [one for one in fleet.deployments if name in (one.id, one.model, one.litellm_model)]
        if not meant:
            root.mistake(name, "no deployment has this id, this model or this LiteLLM model")
        for one in meant:
            try:
                price = prices.overridden(one.price if one.price.known else None, info)
            except ValueError as error:
                root.mistake(name, str(error))
                continue
            if price is not None:
                changed[one.id] = replace(one, price=price)
    root.finish()
    return replace(fleet, deployments=tuple(changed.get(one.id, one) for one in fleet.deployments))
