import os
import subprocess
import sys

import pytest

from services.chassis import config
from services.classifier.__main__ import Settings


def versions(text: str) -> list[tuple[str, float]]:
    return config.from_environ(Settings, {"LUMNI_CLASSIFIER_VERSIONS": text}).shares()


def test_one_version_serves_everything_unless_told_otherwise() -> None:
    assert config.from_environ(Settings, {}).shares() == [("v1", 1.0)]


def test_versions_share_the_requests_and_one_takes_what_is_left() -> None:
    assert versions("v1=0.9,refit=0.1") == [("v1", 0.9), ("refit", 0.1)]
    assert versions("v1,refit=0.25") == [("v1", 0.75), ("refit", 0.25)]


@pytest.mark.parametrize("text", ["v1,v2", "v1=many", "v1=0.5,v2=0.4", "v1=1.5"])
def test_shares_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(config.Mistakes, match="LUMNI_CLASSIFIER_VERSIONS"):
        versions(text)


def test_a_threshold_beyond_a_probability_is_refused() -> None:
    with pytest.raises(config.Mistakes, match="LUMNI_CLASSIFIER_THRESHOLD"):
        config.from_environ(Settings, {"LUMNI_CLASSIFIER_THRESHOLD": "1.5"})


def test_a_version_without_weights_is_named_and_nothing_is_served() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "services.classifier"],
        env={**os.environ, "LUMNI_CLASSIFIER_VERSIONS": "gone", "LUMNI_LISTEN": "127.0.0.1:0"},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode != 0
    assert "there is no gone.npz" in done.stderr
