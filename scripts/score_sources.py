"""Published benchmark scores as five public repositories list them, each with its source, date and publisher.

`scripts/catalog.py` reads them from a folder of clones, which `clone` makes. None of their text is copied into this
project: only models, benchmarks, scores, dates and addresses of sources.
"""

import json
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

import yaml

# Where each is found, its licence, and the commit that the committed catalog was made from.
REPOSITORIES = (
    ("llm-leaderboard", "https://github.com/JonathanChavezTamales/llm-leaderboard", "CC BY 4.0", "24a9ccf"),
    ("llm-benchmark-matrix", "https://github.com/anadim/llm-benchmark-matrix", "MIT", "910d344"),
    ("models.dev", "https://github.com/anomalyco/models.dev", "MIT", "f3fc69229"),
    ("simple-evals", "https://github.com/openai/simple-evals", "MIT", "ee3b031"),
    ("aider", "https://github.com/Aider-AI/aider", "Apache-2.0", "5dc9490bb"),
)
# Who measures models and makes none. Any other page is a maker's, or repeats what makers say: self-reported.
INDEPENDENT = (
    "aider.chat",
    "arcprize.org",
    "artificialanalysis.ai",
    "bigcode-bench.github.io",
    "epoch.ai",
    "gorilla.cs.berkeley.edu",
    "labs.scale.com",
    "livebench.ai",
    "livecodebench.github.io",
    "matharena.ai",
    "scale.com",
    "www.swebench.com",
    "www.tbench.ai",
    "www.vals.ai",
)
_ARXIV = re.compile(r"arxiv\.org/(?:abs|pdf|html)/(\d\d)(\d\d)\.\d")
_DATE = re.compile(r"(20\d\d)[-/](0[1-9]|1[0-2])(?:[-/]([0-3]\d))?(?!\d)")


@dataclass(frozen=True, slots=True)
class Reported:
    """One score as one source gives it.

    Attributes:
        model: In the source's spelling.
        organization: Who made the model; empty when the source does not say.
        benchmark: In the source's spelling.
        percent: The score.
        url: Where it was published.
        published: When, as YYYY-MM-DD or YYYY-MM; empty when nothing says so.
        released: When the model was, likewise.

    """

    model: str
    organization: str
    benchmark: str
    percent: float
    url: str
    published: str = ""
    released: str = ""

    @property
    def independent(self) -> bool:
        """Whether somebody measured it who makes no model."""
        return urlparse(self.url).netloc in INDEPENDENT


def clone(folder: Path) -> None:
    """Get the repositories that are not in the folder yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, address, _, _ in REPOSITORIES:
        if not (folder / name).exists():
            subprocess.run(
                ["git", "clone", "--quiet", "--depth", "1", address, str(folder / name)], check=True
            )


def read(folder: Path) -> Iterator[Reported]:
    """Every score of every repository."""
    for name, reader in READERS.items():
        yield from reader(folder / name)


def _dated(url: str, released: str) -> str:
    """When a page appeared: by its address, else with the model that it presents."""
    found = _ARXIV.search(url)
    named = f"20{found[1]}-{found[2]}" if found else ""
    if not named and (found := _DATE.search(url)):
        named = "-".join(part for part in found.groups() if part)
    # An address that is older than the model names something else.
    return named if named and named >= released[: len(named)] else released


def _llm_leaderboard(folder: Path) -> Iterator[Reported]:
    for file in sorted(folder.glob("data/organizations/*/models/*/benchmarks.json")):
        about = json.loads((file.parent / "model.json").read_text(encoding="utf-8"))
        released = about.get("release_date") or ""
        for row in json.loads(file.read_text(encoding="utf-8")):
            url = row.get("self_reported_source_link") or about.get("source_api_ref") or ""
            if url.startswith("https://") and row.get("score") is not None:
                yield Reported(
                    row["model_id"],
                    about["organization_id"],
                    row["benchmark_id"],
                    round(100 * float(row["score"]), 4),
                    url,
                    _dated(url, released),
                    released,
                )


def _llm_benchmark_matrix(folder: Path) -> Iterator[Reported]:
    data = json.loads((folder / "data" / "llm_benchmark_data.json").read_text(encoding="utf-8"))
    names = {one["id"]: one["name"] for one in data["benchmarks"]}
    models = {one["id"]: one for one in data["models"]}
    for row in data["scores"]:
        model, url = models.get(row["model_id"], {}), row.get("reference_url") or ""
        if url.startswith("https://") and isinstance(row["score"], int | float):
            released = model.get("release_date") or ""
            yield Reported(
                row["model_id"],
                str(model.get("provider", "")).lower(),
                names.get(row["benchmark_id"], row["benchmark_id"]),
                float(row["score"]),
                url,
                _dated(url, released),
                released,
            )


def _models_dev(folder: Path) -> Iterator[Reported]:
    for file in sorted(folder.glob("models/*/*.toml")):
        about = tomllib.loads(file.read_text(encoding="utf-8"))
        released = str(about.get("release_date", ""))
        for row in about.get("benchmarks", ()):
            if row["source"].startswith("https://"):
                yield Reported(
                    f"{file.parent.name}/{file.stem}",
                    file.parent.name,
                    row["name"],
                    float(row["score"]),
                    row["source"],
                    str(row.get("date", "")) or _dated(row["source"], released),
                    released,
                )


def _plain(cell: str) -> str:
    """A cell of Markdown without footnotes, addresses of links and marks."""
    named = re.sub(r"\[([^\]^]*)\]\([^)]*\)", r"\1", cell)
    return re.sub(r"\[\^[^\]]*\]|\(F1.*?\)|<br>|\*", "", named).strip()


def _simple_evals(folder: Path) -> Iterator[Reported]:
    """The table of its README: a column for each benchmark."""
    columns: list[str] = []
    for line in (folder / "README.md").read_text(encoding="utf-8").splitlines():
        cells = [_plain(cell) for cell in line.strip("|").split("|")]
        if cells[0] == "Model":
            columns = cells
        elif columns and len(cells) >= len(columns) - 1:
            for benchmark, cell in zip(columns[2:], cells[2:], strict=False):
                if re.fullmatch(r"\d+(\.\d+)?", cell):
                    yield Reported(
                        re.sub(r"\s*\(.*", "", cells[0]),
                        "",
                        benchmark,
                        float(cell),
                        "https://github.com/openai/simple-evals",
                    )


def _aider(folder: Path) -> Iterator[Reported]:
    for file, benchmark in (
        ("polyglot_leaderboard.yml", "Aider Polyglot"),
        ("edit_leaderboard.yml", "Aider code editing (pass_rate_2)"),
    ):
        rows = yaml.safe_load((folder / "aider/website/_data" / file).read_text(encoding="utf-8"))
        for row in rows:
            yield Reported(
                row["model"],
                "",
                benchmark,
                float(row["pass_rate_2"]),
                "https://aider.chat/docs/leaderboards/",
                str(row.get("date", "")),
                str(row.get("_released") or row.get("released") or ""),
            )


READERS: Mapping[str, Callable[[Path], Iterator[Reported]]] = {
    "llm-leaderboard": _llm_leaderboard,
    "llm-benchmark-matrix": _llm_benchmark_matrix,
    "models.dev": _models_dev,
    "simple-evals": _simple_evals,
    "aider": _aider,
}
