import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.chassis import config
from services.classifier import heads
from services.classifier.settings import Settings


def versions(text: str) -> list[tuple[str, float]]:
    return config.from_environ(Settings, {"LUMNI_CLASSIFIER_VERSIONS": text}).shares()


def test_one_version_serves_everything_by_default() -> None:
    assert config.from_environ(Settings, {}).shares() == [("v1", 1.0)]


def test_versions_share_the_requests_and_one_takes_what_is_left() -> None:
    assert versions("v1=0.9,refit=0.1") == [("v1", 0.9), ("refit", 0.1)]
    assert versions("v1,refit=0.25") == [("v1", 0.75), ("refit", 0.25)]
    assert versions("v1 = 1, refit = 0") == [("v1", 1.0), ("refit", 0.0)]


@pytest.mark.parametrize(
    "text",
    [
        "v1,v2", "v1=many", "v1=0.5,v2=0.4", "v1=1.5", "v1=nan", "v1=nan,v2", "v1=inf", "v1=-0.5,v2=1.5",
        "v1=-1e-9,v2", "v1=0", "v1=0,v2=0", "v1=0.5,v1=0.5", "v1,v1=0.5", "v1=", "=1", ",", "../v1", ".v1=1",
    ],
)  # fmt: skip
def test_shares_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(config.Mistakes, match="LUMNI_CLASSIFIER_VERSIONS"):
        versions(text)


def test_a_threshold_beyond_a_probability_is_refused() -> None:
    with pytest.raises(config.Mistakes, match="LUMNI_CLASSIFIER_THRESHOLD"):
        config.from_environ(Settings, {"LUMNI_CLASSIFIER_THRESHOLD": "1.5"})


@pytest.mark.parametrize("name", ["../v1", ".v1", "v 1"])
def test_a_shadow_whose_name_is_a_path_is_refused(name: str) -> None:
    with pytest.raises(config.Mistakes, match="LUMNI_CLASSIFIER_SHADOW"):
        config.from_environ(Settings, {"LUMNI_CLASSIFIER_SHADOW": name})


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", None), ("mine", ("mine", 1.0)), ("mine=0.1", ("mine", 0.1)), ("mine = 0", ("mine", 0.0))],
)
def test_a_shadow_judges_all_requests_or_a_share_of_them(
    text: str, expected: tuple[str, float] | None
) -> None:
    assert expected == config.from_environ(Settings, {"LUMNI_CLASSIFIER_SHADOW": text}).shadowing()


@pytest.mark.parametrize("share", ["", "many", "nan", "1.5", "-0.1"])
def test_a_share_of_a_shadow_that_cannot_be_is_refused(share: str) -> None:
    with pytest.raises(config.Mistakes, match="LUMNI_CLASSIFIER_SHADOW: a share"):
        config.from_environ(Settings, {"LUMNI_CLASSIFIER_SHADOW": f"mine={share}"})


def started(**environ: str) -> subprocess.CompletedProcess[str]:
    """A start that is expected to fail."""
    return subprocess.run(
        [sys.executable, "-m", "services.classifier"],
        env={**os.environ, "LUMNI_LISTEN": "127.0.0.1:0", **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("variable", ["LUMNI_CLASSIFIER_VERSIONS", "LUMNI_CLASSIFIER_SHADOW"])
def test_a_version_without_weights_is_named_with_its_variable_and_nothing_is_served(variable: str) -> None:
    done = started(**{variable: "gone"})

    assert done.returncode == 2
    assert f"{variable}: there is no gone.npz" in done.stderr


@pytest.mark.parametrize("variable", ["LUMNI_CLASSIFIER_VERSIONS", "LUMNI_CLASSIFIER_SHADOW"])
def test_a_broken_file_of_weights_is_named_without_a_traceback(variable: str, tmp_path: Path) -> None:
    (tmp_path / "mine.npz").write_bytes((heads.COMMITTED / "v1.npz").read_bytes()[:5000])
    done = started(**{variable: "mine", "LUMNI_CLASSIFIER_WEIGHTS": str(tmp_path)})

    assert done.returncode == 2
    assert f"lumni: {variable}: {tmp_path / 'mine.npz'} cannot be read as weights" in done.stderr
    assert "Traceback" not in done.stderr
