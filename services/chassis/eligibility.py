"""Whether a deployment may and can take a request: pure rules over `Deployment`, in a fixed order.

Each rule has the name that removals and errors give it, and the fault that is raised when it removes the last
deployment. The selector applies them to a whole fleet and adds health and quotas; the gateway applies them to what
it lists itself while the selector is down.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from services.chassis.deployments import Deployment
from services.chassis.errors import Fault, Forbidden, Invalid
from services.chassis.operations import MODES, Operation
from services.chassis.unit_prices import NO_UNITS, Units

__all__ = [
    "CAPABILITIES",
    "Policy",
    "Requirements",
    "Rule",
    "abilities",
    "apply",
    "bound",
    "context",
    "cost",
    "of_pinned",
    "permissions",
    "static",
    "too_expensive",
]

# What a request may need of a model, in the words of the contract.
CAPABILITIES = (
    "vision",
    "audio",
    "file",
    "tools",
    "json_schema",
    "several_choices",
    "logprobs",
    "web_search",
)


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a deployment must be able to do."""

    operation: str = "chat"
    # An upper bound of the prompt, and what it will probably be, in tokens.
    prompt_tokens: int = 0
    likely_prompt_tokens: int = 0
    # The cap of one answer, in tokens; 0 when there is none.
    output_tokens: int = 0
    choices: int = 1
    capabilities: tuple[str, ...] = ()
    # The only weights that may answer (`Deployment.weights`): vectors of two models cannot be compared. Empty is any.
    weights: str = ""
    # How often the provider may search the web for one answer.
    web_search: int = 0
    # What is billed where the provider reports no tokens.
    units: Units = NO_UNITS

    @property
    def expected_prompt_tokens(self) -> int:
        """What the prompt will probably be; its upper bound where there is no estimate."""
        return self.likely_prompt_tokens or self.prompt_tokens


@dataclass(frozen=True, slots=True)
class Policy:
    """What the plan, the key and the request permit; empty and 0 permit all."""

    allowed_models: tuple[str, ...] = ()
    access_groups: tuple[str, ...] = ()
    provider: str = ""
    denied_providers: tuple[str, ...] = ()
    denied_regions: tuple[str, ...] = ()
    max_cost_nano_usd: int = 0
    # Whether every deployment must have a price that is known: for a caller with a budget.
    priced_only: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """One test of deployments.

    Attributes:
        name: What removals and errors call it.
        passes: Whether a deployment may stay.
        fault: What to raise when none does, given those that it removes.
    """

    name: str
    passes: Callable[[Deployment], bool]
    fault: Callable[[Sequence[Deployment]], Fault]


def apply(deployments: Iterable[Deployment], rules: Iterable[Rule]) -> list[Deployment]:
    """The deployments that pass every rule.

    Raises:
        Fault: that of the rule that removes the last one.
    """
    left = list(deployments)
    for rule in rules:
        passing = [deployment for deployment in left if rule.passes(deployment)]
        if not passing:
            raise rule.fault(left)
        left = passing
    return left


def permissions(policy: Policy, aliases: Mapping[str, str]) -> Iterator[Rule]:
    """Whether the caller may use a deployment; a rule that permits all is not among them."""
    if policy.access_groups:
        groups = frozenset(policy.access_groups)
        yield Rule(
            "access_groups",
            lambda one: not groups.isdisjoint(one.access_groups),
            _forbidden("access_groups", "the key's plan does not include this model"),
        )
    if policy.allowed_models:
        models = frozenset(aliases.get(name, name) for name in policy.allowed_models)
        yield Rule(
            "allowed_models",
            lambda one: one.model in models,
            _forbidden("allowed_models", "the key does not allow this model"),
        )
    if policy.priced_only or policy.max_cost_nano_usd:
        yield Rule(
            "unpriced",
            lambda one: one.price.known,
            _forbidden(
                "unpriced",
                "nobody knows what it costs, so no budget and no max_cost_usd can cover it; use another model, or ask "
                "the operator to set its price",
            ),
        )
    if policy.provider:
        yield Rule(
            "provider",
            lambda one: one.provider == policy.provider,
            _forbidden(
                "provider", f"provider {policy.provider} serves none of the models that you may use here"
            ),
        )
    if policy.denied_providers:
        providers = frozenset(policy.denied_providers)
        yield Rule(
            "denied_providers",
            lambda one: one.provider not in providers,
            _forbidden("denied_providers", "every provider that is left is denied"),
        )
    if policy.denied_regions:
        regions = frozenset(policy.denied_regions)
        yield Rule(
            "denied_regions",
            # A region that is not known may be one of the denied ones.
            lambda one: bool(one.region) and one.region not in regions,
            _forbidden(
                "denied_regions", "every deployment that is left lies in a denied region, or nowhere known"
            ),
        )


def of_pinned(requirements: Requirements, first: Deployment) -> Requirements:
    """What is required once a model is pinned whose first deployment in the configuration is this one.

    Embeddings of other weights would spoil an index, so neither the group nor its fallbacks may give any.
    """
    if requirements.operation != Operation.EMBEDDINGS:
        return requirements
    return replace(requirements, weights=first.weights)


def abilities(requirements: Requirements) -> Iterator[Rule]:
    """Whether a model can do what the request needs, one capability after the other."""
    for word in requirements.capabilities:
        yield Rule(word, partial(_can, word), _incapable(word, word))


def static(requirements: Requirements, policy: Policy, aliases: Mapping[str, str]) -> Iterator[Rule]:
    """Every rule that looks neither at lengths nor at costs, in order: operation, permissions, abilities."""
    modes = MODES.get(requirements.operation, frozenset())
    yield Rule("operation", lambda one: one.mode in modes, _incapable("operation", requirements.operation))
    if requirements.weights:
        yield Rule(
            "weights",
            lambda one: one.weights == requirements.weights,
            _incapable("weights", f"the same {requirements.operation} as {requirements.weights}"),
        )
    yield from permissions(policy, aliases)
    yield from abilities(requirements)


def context(requirements: Requirements) -> Rule:
    """Whether prompt and answer fit into the context window, as far as it is known."""
    prompt, cap = requirements.expected_prompt_tokens, requirements.output_tokens

    def fits(one: Deployment) -> bool:
        window, longest = one.context_window, one.max_output_tokens
        # No answer is longer than the model can give.
        answer = longest if longest and longest < cap else cap
        return not window or prompt + answer <= window

    return Rule("context_length", fits, partial(_too_long, requirements))


def cost(requirements: Requirements, policy: Policy) -> Iterator[Rule]:
    """Whether one attempt costs no more than permitted; no rule where there is no limit."""
    if limit := policy.max_cost_nano_usd:
        yield Rule(
            "max_cost",
            lambda one: bound(one, requirements) <= limit,
            lambda left: too_expensive(min(bound(one, requirements) for one in left), limit),
        )


def bound(deployment: Deployment, requirements: Requirements) -> int:
    """The most that one attempt can cost there, in nano-USD."""
    return deployment.price.bound(
        requirements.prompt_tokens,
        requirements.output_tokens or deployment.longest_answer,
        requirements.choices,
        requirements.web_search,
        requirements.units,
    )


def too_expensive(least_nano_usd: float, limit_nano_usd: int) -> Fault:
    """The fault of a request that every model may cost more than permitted."""
    return Invalid(
        f"max_cost_usd: the cheapest model may cost {least_nano_usd / 1e9:.6f} USD, more than "
        f"{limit_nano_usd / 1e9:.6f}; raise it, shorten the prompt or lower max_completion_tokens",
        reason="MAX_COST",
        param="max_cost_usd",
        metadata={"filter": "max_cost"},
    )


def _can(capability: str, deployment: Deployment) -> bool:
    return capability in deployment.capabilities


def _forbidden(name: str, message: str) -> Callable[[Sequence[Deployment]], Fault]:
    return lambda _: Forbidden(
        f"model: {message}", reason="MODEL_NOT_ALLOWED", param="model", metadata={"filter": name}
    )


def _incapable(name: str, word: str) -> Callable[[Sequence[Deployment]], Fault]:
    return lambda _: Invalid(
        f"model: no model that you may use can do {word}; choose another model or leave it to auto",
        reason="CAPABILITY_MISSING",
        param="model",
        metadata={"filter": name},
    )


def _too_long(requirements: Requirements, left: Sequence[Deployment]) -> Fault:
    longest = max(deployment.context_window for deployment in left)
    return Invalid(
        f"messages: about {requirements.expected_prompt_tokens} tokens of prompt and up to "
        f"{requirements.output_tokens} of answer exceed the longest context window of {longest} tokens; "
        "shorten the prompt or lower max_completion_tokens",
        reason="CONTEXT_LENGTH_EXCEEDED",
        param="messages",
        metadata={"filter": "context_length"},
    )
