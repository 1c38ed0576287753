"""What the operator adds to what the system says: the section `system_prompts` of `config/lumni.yaml`."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lumni.classifier.v1 import classifier_pb2

from services.chassis import lumni_config
from services.chassis.enums import word
from services.chassis.yaml import Section

# Characters of one text: it is paid for with each request.
LONGEST = 16 * 1024


@dataclass(frozen=True, slots=True)
class Rule:
    """A text that is added, and why: `base`, or such as `plan:free`."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class SystemPrompts:
    """The texts, each by what it is for."""

    base: str = ""
    plans: Mapping[str, str] = field(default_factory=dict)
    categories: Mapping[str, str] = field(default_factory=dict)
    languages: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.base or self.plans or self.categories or self.languages or self.models)

    @property
    def rules(self) -> Iterator[Rule]:
        """All of them, from the most general to the most special: the order in which they are added."""
        if self.base:
            yield Rule("base", self.base)
        for kind, texts in (
            ("plan", self.plans),
            ("category", self.categories),
            ("language", self.languages),
            ("model", self.models),
        ):
            yield from (Rule(f"{kind}:{name}", text) for name, text in texts.items())

    def applying(self, *, plan: str, category: str, language: str, model: str) -> Iterator[Rule]:
        """The rules for a request."""
        # Of a language such as de-AT, the text for de will do.
        spoken = language if language in self.languages else language.partition("-")[0]
        wanted = ("base", f"plan:{plan}", f"category:{category}", f"language:{spoken}", f"model:{model}")
        return (rule for rule in self.rules if rule.name in wanted)

    def longest(self, plan: str) -> list[str]:
        """The texts that a request of a plan may get at most, before it is known what it asks and who answers."""
        unknown = (self.categories, self.languages, self.models)
        known = [self.base, self.plans.get(plan, "")]
        return [
            *known,
            *(max(one.values(), key=lambda text: len(text.encode()), default="") for one in unknown),
        ]


def load(path: Path, plans: Collection[str]) -> SystemPrompts:
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
    found = SystemPrompts(
        base=_text(section, "base"),
        plans=_texts(section.section("plans"), plans),
        categories=_texts(section.section("categories"), tuple(filter(None, categories))),
        languages=_texts(section.section("languages")),
        models=_texts(section.section("models")),
    )
    root.finish()
    return found


def _texts(section: Section, known: Collection[str] = ()) -> dict[str, str]:
    for name in section.keys:
        if known and name not in known:
            section.mistake(name, f"there is none of this name; known: {', '.join(known)}")
    return {name: text for name in section.keys if (text := _text(section, name))}


def _text(section: Section, name: str) -> str:
    text = section.text(name, "").strip()
    if len(text) > LONGEST:
        section.mistake(name, f"expected at most {LONGEST} characters")
    return text
