"""What every service's process has before its work begins."""

import subprocess
import sys
from textwrap import dedent

from services.chassis import offload


def test_threads_of_a_service_take_short_turns() -> None:
    # In a process of its own, whose logs and switches are nobody else's.
    program = """
        import sys
        from dataclasses import dataclass
        from services.chassis import process, span_export, telemetry

        @dataclass
        class Settings:
            telemetry: telemetry.Settings

        async def main(_):
            print(sys.getswitchinterval())

        process.run("example", lambda _: Settings(telemetry.Settings(spans=span_export.Settings())), main)
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(program)], capture_output=True, text=True, check=True, timeout=120
    )

    assert abs(float(done.stdout) - offload.TURN_S) < 1e-6
    # A loop that waits several times for its turn loses less than a millisecond or two.
    assert offload.TURN_S < 0.001
