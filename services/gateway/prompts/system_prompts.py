"""What the operator adds to what the system says: the section `system_prompts` of `config/lumni.yaml`.

Each text stands there, or is what a version of a stored prompt says, which `stored_rules` reads.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lumni.classifier.v1 import classifier_pb2

from services.chassis import lumni_config
from services.chassis.enums import word
from services.chassis.errors import Invalid
from services.chassis.yaml import Section
from services.gateway.prompts import reference
from services.gateway.prompts.reference import Reference

# Characters of one text: it is paid for with each request.
LONGEST = 16 * 1024
BASE = "base"
# What texts are for, and the section that they stand in, from the most general to the most special.
KINDS: Mapping[str, str] = {
    "plan": "plans",
    "category": "categories",
    "language": "languages",
    "model": "models",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """A text that is added, and why.

    Attributes:
        name: What it is for: `base`, or such as `plan:free`.
        text: The text.
        version: The version of a stored prompt that says it, such as `house-style@3`; empty where the file does.

    """

    name: str
    text: str
    version: str = ""

    @property
    def shown(self) -> str:
        """What callers and traces see of it."""
        return f"{self.name}={self.version}" if self.version else self.name


@dataclass(frozen=True, slots=True)
class SystemPrompts:
    """The texts, each by what it is for.

    Attributes:
        base: For all requests.
        plans: By the plan of the caller.
        categories: By the category of the request.
        languages: By its language.
        models: By the model of the first candidate.
        versions: Of those that stored prompts say, by the names of their rules, the versions.

    """

    base: str = ""
    plans: Mapping[str, str] = field(default_factory=dict)
    categories: Mapping[str, str] = field(default_factory=dict)
    languages: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.base or self.plans or self.categories or self.languages or self.models)

    @property
    def rules(self) -> Iterator[Rule]:
        """All of them, from the most general to the most special: the order in which they are added."""
        if self.base:
            yield self._rule(BASE, self.base)
        for kind, section in KINDS.items():
            texts: Mapping[str, str] = getattr(self, section)
            yield from (self._rule(f"{kind}:{name}", text) for name, text in texts.items())

    def applying(self, *, plan: str, category: str, language: str, model: str) -> Iterator[Rule]:
        """The rules for a request."""
        # Of a language such as de-AT, the text for de will do.
        spoken = language if language in self.languages else language.partition("-")[0]
        wanted = (BASE, f"plan:{plan}", f"category:{category}", f"language:{spoken}", f"model:{model}")
        return (rule for rule in self.rules if rule.name in wanted)

    def longest(self, plan: str) -> list[str]:
        """The texts that a request of a plan may get at most, before it is known what it asks and who answers."""
        unknown = (self.categories, self.languages, self.models)
        known = [self.base, self.plans.get(plan, "")]
        return [
            *known,
            *(max(one.values(), key=lambda text: len(text.encode()), default="") for one in unknown),
        ]

    def digest(self) -> bytes:
        """Tells these texts from all others."""
        said = "\0".join(f"{rule.shown}\0{rule.text}" for rule in self.rules)
        return hashlib.blake2b(said.encode(), digest_size=16).digest()

    def with_rule(self, rule: Rule) -> "SystemPrompts":
        """The same with one more text."""
        versions = {**self.versions, rule.name: rule.version}
        kind, _, name = rule.name.partition(":")
        if kind == BASE:
            return replace(self, base=rule.text, versions=versions)
        texts: dict[str, Any] = {KINDS[kind]: {**getattr(self, KINDS[kind]), name: rule.text}}
        return replace(self, versions=versions, **texts)

    def _rule(self, name: str, text: str) -> Rule:
        return Rule(name, text, self.versions.get(name, ""))


@dataclass(frozen=True, slots=True)
class Stored:
    """A text that is what a stored prompt says.

    Attributes:
        reference: The version of the prompt.
        variables: The values of its variables.

    """

    reference: Reference
    variables: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Configured:
    """The section.

    Attributes:
        written: The texts that stand there.
        stored: Those that stored prompts say, by the names of their rules.

    """

    written: SystemPrompts = field(default_factory=SystemPrompts)
    stored: Mapping[str, Stored] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """All rules, with the stored prompts that they name."""
        return [
            *(rule.name for rule in self.written.rules),
            *(f"{name}={one.reference}" for name, one in self.stored.items()),
        ]

    def naming(self, prompt: Mapping[str, Any]) -> Mapping[str, Reference]:
        """The rules that name a stored prompt, by its name or its id, and what they name; one of everybody's alone."""
        if prompt["organization_id"] is not None:
            return {}
        return {
            rule: one.reference
            for rule, one in self.stored.items()
            if one.reference.prompt in (prompt["name"], prompt["prompt_id"])
        }


def load(path: Path, plans: Collection[str]) -> Configured:
    """Read the section; without it nothing is added.

    Args:
        path: The file.
        plans: The names of the plans that there are.

    Raises:
        Mistakes: every mistake, with its line.
    """
    root = lumni_config.load(path)
    section = root.section("system_prompts")
    categories = [word(classifier_pb2.Category, number) for number in classifier_pb2.Category.values()]
    known = {"plans": plans, "categories": tuple(filter(None, categories))}
    stored: dict[str, Stored] = {}
    base = _text(section, BASE, BASE, stored)
    texts = {}
    for kind, name in KINDS.items():
        below = section.section(name)
        for key in below.keys:
            if known.get(name) and key not in known[name]:
                below.mistake(key, f"there is none of this name; known: {', '.join(known[name])}")
        read = {key: _text(below, key, f"{kind}:{key}", stored) for key in below.keys}
        texts[name] = {key: text for key, text in read.items() if text}
    root.finish()
    return Configured(SystemPrompts(base, **texts), stored)


def _text(section: Section, key: str, rule: str, stored: dict[str, Stored]) -> str:
    """The text of a rule; empty where there is none, or where a prompt says it, which is added to those stored."""
    if isinstance(section.plain(key, None), dict):
        named = section.section(key)
        named.require("prompt")
        variables: Any = named.plain("variables", {})
        if not isinstance(variables, dict):
            named.mistake("variables", "expected a mapping of names to values")
        try:
            wanted = reference.parse(named.text("prompt", "unnamed"), place="prompt")
        except Invalid as error:
            named.mistake("prompt", error.message.removeprefix("prompt: "))
        else:
            stored[rule] = Stored(wanted, variables)
        return ""
    text = section.text(key, "").strip()
    if len(text) > LONGEST:
        section.mistake(key, f"expected at most {LONGEST} characters")
    return text
