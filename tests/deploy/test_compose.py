"""compose.yaml keeps what the design promises: who may leave, who is reachable, who holds which secret."""

import ipaddress
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from services.chassis import config, redis_acl
from services.classifier.settings import Settings as Classifier
from services.executor.settings import Settings as Executor
from services.gateway.ledger.settings import Settings as Ledger
from services.gateway.migrate import Settings as Migrate
from services.gateway.settings import Settings as Gateway
from services.selector.settings import Settings as Selector
from services.together.settings import Settings as Together
from services.together.settings import read as read_together
from tests.tools import find_or_skip

ROOT = Path(__file__).parents[2]
OURS: dict[str, Any] = {
    "classifier": Classifier,
    "selector": Selector,
    "executor": Executor,
    "gateway": Gateway,
    "ledger": Ledger,
    "migrate": Migrate,
    "together": Together,
}
# How each is read.
READ: dict[str, Any] = {
    **{name: config.reader(kind) for name, kind in OURS.items()},
    "together": read_together,
}
# Those that call each other, and know each other by the token.
CALLED = ("classifier", "selector", "executor", "gateway", "together")
# What `together` holds.
FOUR = ("classifier", "selector", "executor", "gateway")
# `migrate` ends by itself; the collector's image holds nothing that could ask.
WITHOUT_HEALTHCHECK = {"migrate", "collector"}
SECRET = re.compile(r"_KEY|TOKEN|SECRET|PASSWORD|AUTH|(?<!MODEL)_URL")
# Where containers find their secrets.
SECRETS, PROVIDERS = "/run/secrets/", "/run/providers/"
# What is drawn; all else is optional.
REQUIRED = {
    "LUMNI_SERVICE_TOKEN",
    "LUMNI_ADMIN_KEY",
    "LUMNI_KEY_SECRET",
    "LUMNI_RESPONSES_KEY",
    "LUMNI_API_KEY",
    "LUMNI_LOCAL_MODEL_KEY",
    "POSTGRES_PASSWORD",
    "DATABASE_URL",
    "VALKEY_PASSWORD",
    "GRAFANA_PASSWORD",
    *(f"{name.upper()}_REDIS_URL" for name in redis_acl.USERS),
}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return found


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose["services"]
    return found


def _of_providers() -> set[str]:
    """The variables that the configuration of deployments names."""
    return set(re.findall(r"os\.environ/(\w+)", (ROOT / "config" / "litellm_config.yaml").read_text()))


def _filled_in(value: str) -> str:
    """Interpolated with a word for every variable that has no default."""
    return re.sub(r"\$\{\w+(?::?([-?])([^}]*))?\}", lambda m: m[2] if m[1] == "-" else "word", value)


@pytest.mark.parametrize("broken", [False, True])
def test_what_docker_compose_reads_with_accepts_it(broken: bool, tmp_path: Path) -> None:
    compose_go = find_or_skip("compose-go")
    text = _filled_in((ROOT / "compose.yaml").read_text())
    file = tmp_path / "compose.yaml"
    file.write_text(text.replace("healthcheck:", "health_check:") if broken else text)

    checked = subprocess.run([compose_go, file], capture_output=True, text=True, timeout=60)

    assert broken == (checked.returncode != 0), checked.stderr
    assert broken == ("health_check" in checked.stderr)


def test_every_image_can_be_pinned_by_its_digest(services: dict[str, Any]) -> None:
    for service in services.values():
        chosen = service["image"] if "image" in service else service["build"]["args"]["PYTHON_IMAGE"]
        assert re.fullmatch(r"\$\{\w+_IMAGE:-[^:}]+:[^:}]+\}", chosen), chosen
    text = (ROOT / "Dockerfile").read_text()
    stages = set(re.findall(r"^FROM \S+ AS (\w+)$", text, re.M))
    assert {"${PYTHON_IMAGE}"} == set(re.findall(r"^FROM (\S+)", text, re.M)) - stages


def test_nothing_is_used_that_an_old_docker_compose_does_not_know(compose: dict[str, Any]) -> None:
    top = {key for key in compose if not key.startswith("x-")}

    assert top == {"services", "secrets", "networks", "volumes"}
    text = (ROOT / "compose.yaml").read_text()
    for newer in ("develop:", "start_interval:", "required:", ":+", "!reset", "!override"):
        assert newer not in text


def test_only_what_calls_providers_and_the_collector_can_leave(
    compose: dict[str, Any], services: dict[str, Any]
) -> None:
    ways_out = {
        name
        for name, network in compose["networks"].items()
        if not network.get("internal")
        and network.get("driver_opts", {}).get("com.docker.network.bridge.enable_ip_masquerade") != "false"
    }

    assert ways_out == {"egress"}
    assert {name for name, service in services.items() if ways_out & set(service["networks"])} == {
        "executor",
        "together",
        "collector",
        "alertmanager",
    }
    assert not [name for name, service in services.items() if "network_mode" in service]


def test_only_what_stands_in_front_publishes_ports_and_on_loopback_by_default(
    services: dict[str, Any],
) -> None:
    published = {
        name: [_filled_in(port) for port in service["ports"]]
        for name, service in services.items()
        if "ports" in service
    }
    front = ["127.0.0.1:8080:8080", "127.0.0.1:50050:50050"]
    assert {"proxy": front, "together": front, "grafana": ["127.0.0.1:3000:3000"]} == published


def test_the_proxy_reaches_the_gateways_and_nothing_behind_them(
    compose: dict[str, Any], services: dict[str, Any]
) -> None:
    reached = {name for name, service in services.items() if "edge" in service["networks"]}

    assert {"proxy", "gateway"} == reached
    assert "inside" not in services["proxy"]["networks"]
    assert compose["networks"]["edge"]["internal"]
    given = services["gateway"]["environment"]
    addresses = re.findall(r"gateway:(\d+)", (ROOT / "deploy" / "haproxy.cfg").read_text())
    rest, grpc = (given[name].rpartition(":")[2] for name in ("LUMNI_REST_LISTEN", "LUMNI_LISTEN"))
    assert [rest, rest, grpc, grpc] == addresses


def test_the_proxy_asks_gateways_that_reach_an_executor_by_both_protocols() -> None:
    # What comes of it is tested with a proxy, where there is one (test_haproxy.py).
    rules = re.findall(
        r"^  use_backend (\w+) if { nbsrv\((\w+)\) ge 1 }\n  default_backend (\w+)$",
        (ROOT / "deploy" / "haproxy.cfg").read_text(),
        re.M,
    )
    assert [(f"{name}_ready", f"{name}_ready", name) for name in ("rest", "grpc")] == rules


async def test_a_caller_is_known_by_its_own_address_whatever_it_claims(
    compose: dict[str, Any], services: dict[str, Any]
) -> None:
    assert "option forwardfor" in (ROOT / "deploy" / "haproxy.cfg").read_text()
    (edge,) = compose["networks"]["edge"]["ipam"]["config"]
    proxy = str(next(ipaddress.ip_network(_filled_in(edge["subnet"])).hosts()))
    trusted = services["gateway"]["environment"]["FORWARDED_ALLOW_IPS"]

    async def seen(by: str, tls_proxy: str, *forwarded: str) -> tuple[str, str]:
        """The address and scheme that the application has of a request whose connection is from `by`."""
        found: list[Any] = []

        async def application(scope: Any, *_: Any) -> None:
            found.append(scope)

        names = trusted.replace("${LUMNI_TLS_PROXY:-}", tls_proxy)
        headers = [(b"x-forwarded-for", one.encode()) for one in forwarded]
        scope: Any = {
            "type": "http",
            "scheme": "http",
            "client": (by, 1),
            "headers": [*headers, (b"x-forwarded-proto", b"https")],
        }
        unused: Any = None
        await ProxyHeadersMiddleware(application, _filled_in(names))(scope, unused, unused)
        return found[0]["client"][0], found[0]["scheme"]

    # What the proxy adds is last.
    assert ("203.0.113.7", "https") == await seen(proxy, "", "203.0.113.7")
    assert ("203.0.113.7", "https") == await seen(proxy, "", "198.51.100.1", "203.0.113.7")
    # TLS ends in front of the proxy, at an address that is named.
    tls = "172.18.0.1"
    assert ("203.0.113.7", "https") == await seen(proxy, tls, "198.51.100.1, 203.0.113.7", tls)
    assert (tls, "https") == await seen(proxy, "", "203.0.113.7", tls)
    # Past the proxy, as callers of `together` come.
    assert ("203.0.113.7", "http") == await seen("203.0.113.7", tls, "198.51.100.1")


def test_the_proxy_waits_as_long_as_a_request_may_take_and_sees_in_time_who_drains(
    services: dict[str, Any],
) -> None:
    text = (ROOT / "deploy" / "haproxy.cfg").read_text()
    longest = float(_filled_in(services["gateway"]["environment"]["LUMNI_REQUEST_TIMEOUT_S"]))
    timeouts = dict(re.findall(r"^  timeout (\S+) (\d+)s$", text, re.M))

    assert min(float(timeouts["client"]), float(timeouts["server"])) > longest
    assert float(timeouts["check"]) < longest
    # Who is asked when is tested with a proxy (test_haproxy.py). One that drains must be out before it takes no more
    # requests: a check, and a second one, each of which may fail at the end of its time.
    interval, quick, times = re.findall(r"inter (\d+)s fastinter (\d+)ms fall (\d+)", text)[0]
    notices_s = int(interval) + (int(times) - 1) * int(quick) / 1000
    assert notices_s < float(_filled_in(services["gateway"]["environment"]["LUMNI_DRAIN_DELAY_S"]))


def test_the_one_process_starts_only_when_asked_for_and_has_what_its_services_have(
    services: dict[str, Any],
) -> None:
    assert ["together"] == services["together"]["profiles"]
    assert not [name for name, service in services.items() if "together" in service.get("depends_on", {})]
    assert not set(FOUR) & set(services["together"]["depends_on"])
    given = services["together"]["environment"]
    addresses = {f"LUMNI_{name.upper()}" for name in FOUR}
    own = {"LUMNI_LISTEN", "LUMNI_METRICS_LISTEN", "REDIS_URL_FILE"}
    for name in FOUR:
        theirs = services[name]["environment"]
        assert theirs.keys() - addresses <= given.keys(), name
        assert {key: theirs[key] for key in theirs.keys() - addresses - own} == {
            key: given[key] for key in theirs.keys() - addresses - own
        }, name
    for name in ("selector", "executor"):
        assert (
            services[name]["environment"]["REDIS_URL_FILE"] == given[f"LUMNI_{name.upper()}_REDIS_URL_FILE"]
        )


def test_who_reads_the_configuration_sees_the_folder_that_is_edited(services: dict[str, Any]) -> None:
    readers = {name for name in OURS if re.search(r'variable\(\s*"LUMNI_CONFIG_DIR"', _sources(OURS[name]))}

    assert {"ledger", "gateway", "selector", "executor"} <= readers
    for name in readers:
        assert "./config:/app/config:ro" in services[name].get("volumes", ()), name


def test_every_service_says_how_it_is(services: dict[str, Any]) -> None:
    assert {name for name, service in services.items() if "healthcheck" not in service} == WITHOUT_HEALTHCHECK


def test_whoever_is_waited_for_to_be_healthy_can_be(services: dict[str, Any]) -> None:
    for service in services.values():
        for name, wanted in service.get("depends_on", {}).items():
            if wanted["condition"] == "service_healthy":
                assert "healthcheck" in services[name]


def test_no_secret_is_in_the_file_or_in_an_environment(
    compose: dict[str, Any], services: dict[str, Any]
) -> None:
    assert {name: {"file": f"./secrets/{name}"} for name in compose["secrets"]} == compose["secrets"]
    for service in services.values():
        for name, value in (service.get("environment") or {}).items():
            if SECRET.search(name):
                # The collector reads the file itself (test_collector.py).
                path = value.removeprefix("$${file:").removesuffix("}")
                assert name.endswith("_FILE") or path != value, name
                assert path.startswith((SECRETS, PROVIDERS)), name


def test_every_container_gets_the_secrets_that_it_reads_and_no_others(
    compose: dict[str, Any], services: dict[str, Any]
) -> None:
    for name, service in services.items():
        said = f"{service.get('environment')} {service.get('command')} {service.get('healthcheck')}"
        read = set(re.findall(rf"{SECRETS}(\w+)", said))
        if name == "valkey":
            read |= {f"{user.upper()}_REDIS_URL" for user in redis_acl.USERS}
        if name == "alertmanager":
            read |= set(
                re.findall(rf"{SECRETS}(\w+)", (ROOT / "deploy/prometheus/alertmanager.yml").read_text())
            )
        assert read == set(service.get("secrets", ())), name
        assert (PROVIDERS in str(service.get("environment"))) == (
            f"./secrets/providers:{PROVIDERS.rstrip('/')}:ro" in service.get("volumes", ())
        )
    assert {name for service in services.values() for name in service.get("secrets", ())} == set(
        compose["secrets"]
    )


def test_secrets_are_made_once_and_what_is_optional_is_empty(
    compose: dict[str, Any], services: dict[str, Any], tmp_path: Path
) -> None:
    script = tmp_path / "scripts" / "compose_secrets"
    script.parent.mkdir()
    script.write_bytes((ROOT / "scripts" / "compose_secrets").read_bytes())
    (tmp_path / "compose.yaml").write_bytes((ROOT / "compose.yaml").read_bytes())
    folder = tmp_path / "secrets"

    def made() -> dict[str, str]:
        subprocess.run(["bash", "-c", f"umask 077; bash {script}"], check=True, timeout=60)
        return {
            str(file.relative_to(folder)): file.read_text().strip()
            for file in folder.rglob("*")
            if file.is_file()
        }

    first = made()

    providers = re.findall(rf"{PROVIDERS}(\w+)", str(services["executor"]["environment"]))
    assert {*compose["secrets"], *(f"providers/{name}" for name in providers)} == first.keys()
    drawn = {name: text for name, text in first.items() if text}
    assert REQUIRED == drawn.keys()
    assert len(drawn) == len(set(drawn.values()))
    assert f"postgresql://lumni:{first['POSTGRES_PASSWORD']}@postgres:5432/lumni" == first["DATABASE_URL"]
    for name in redis_acl.USERS:
        assert re.fullmatch(rf"redis://{name}:\w{{64}}@valkey:6379/0", first[f"{name.upper()}_REDIS_URL"])
    # Users of the containers read the files, and nobody else on the host, whatever the umask is.
    assert folder.stat().st_mode & 0o077 == 0
    assert {file.stat().st_mode & 0o777 for file in folder.rglob("*") if file.is_file()} == {0o644}

    (folder / "providers" / "OPENAI_API_KEY").write_text("sk-openai\n")
    (folder / "VALKEY_PASSWORD").unlink()
    again = made()

    assert {name for name in first if first[name] != again[name]} == {
        "providers/OPENAI_API_KEY",
        "VALKEY_PASSWORD",
    }
    assert again["providers/OPENAI_API_KEY"] == "sk-openai"


def test_no_secret_is_made_that_could_be_guessed(tmp_path: Path) -> None:
    script, programs, secrets = (tmp_path / name for name in ("scripts", "bin", "secrets"))
    for folder in (script, programs, secrets):
        folder.mkdir()
    shutil.copy(ROOT / "scripts" / "compose_secrets", script)
    shutil.copy(ROOT / "compose.yaml", tmp_path)
    for name in ("bash", "dirname", "mkdir", "chmod", "mv", "cat", "grep"):
        (programs / name).symlink_to(str(shutil.which(name)))

    def run(path: Path | str) -> str:
        done = subprocess.run(
            ["bash", script / "compose_secrets"],
            env={"PATH": str(path)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode != 0
        return done.stderr

    assert "openssl" in run(programs)
    assert not [file for file in secrets.rglob("*") if file.is_file()]
    (secrets / "LUMNI_KEY_SECRET").touch()
    assert "secrets/LUMNI_KEY_SECRET: is empty" in run(os.environ["PATH"])
    (secrets / "LUMNI_KEY_SECRET").unlink()
    # As Docker makes what it is to mount and does not find.
    (secrets / "LUMNI_KEY_SECRET").mkdir()
    assert "secrets/LUMNI_KEY_SECRET: expected a file" in run(os.environ["PATH"])


def test_each_secret_is_where_it_belongs(services: dict[str, Any]) -> None:
    def holders(pattern: str) -> set[str]:
        return {
            name
            for name, service in services.items()
            if any(re.search(pattern, secret) for secret in service.get("secrets", ()))
        }

    providers = {name for name, service in services.items() if PROVIDERS in str(service.get("environment"))}
    assert providers == {"executor", "together"}
    assert holders("^PORTKEY_API_KEY$") == {"collector"}
    assert holders("^DATABASE_URL$") == {"gateway", "ledger", "migrate", "together"}
    assert holders("^LUMNI_(ADMIN_KEY|KEY_SECRET|API_KEY)$") == {"gateway", "together"}
    assert holders("^LUMNI_SERVICE_TOKEN$") == set(CALLED)
    for name in redis_acl.USERS:
        own = f"{SECRETS}{name.upper()}_REDIS_URL"
        assert services[name]["environment"]["REDIS_URL_FILE"] == own
        assert holders(f"^{name.upper()}_REDIS_URL$") - {"together"} == {name, "valkey"}
    assert not [name for name, service in services.items() if "env_file" in service]


def test_every_key_of_the_configuration_and_the_example_reaches_the_executor(
    services: dict[str, Any],
) -> None:
    named = _of_providers() | set(
        re.findall(
            r"^#(\w+_API_KEY)=", (ROOT / ".env.example").read_text().rpartition("## providers")[2], re.M
        )
    )

    assert named
    given = {variable.removesuffix("_FILE") for variable in services["executor"]["environment"]}
    assert named <= given


@pytest.mark.parametrize("name", OURS)
def test_a_service_understands_its_environment(
    compose: dict[str, Any], services: dict[str, Any], name: str
) -> None:
    held = {
        secret: "redis://valkey" if secret.endswith("_REDIS_URL") else secret.ljust(32, "x")
        for secret in compose["secrets"]
    }
    given = {
        key.removesuffix("_FILE"): held.get(str(value).removeprefix(SECRETS), _filled_in(str(value)))
        for key, value in services[name]["environment"].items()
        if value is not None
    }
    inside = [OURS[one] for one in FOUR] if name == "together" else []
    sources = "".join(_sources(kind) for kind in (OURS[name], *inside))
    understood = set(re.findall(r'variable\(\s*"(\w+)"', sources)) | _of_providers()

    READ[name](given)
    assert {key for key in given if key.startswith("LUMNI_")} <= understood


def _sources(settings: Any) -> str:
    own = Path(*settings.__module__.split(".")).with_suffix(".py")
    return "".join(
        (ROOT / path).read_text()
        for path in (
            own,
            "services/chassis/rpc/settings.py",
            "services/chassis/span_export.py",
            "services/chassis/telemetry.py",
            "services/gateway/cache/settings.py",
            "services/gateway/recording/settings.py",
        )
    )


@pytest.mark.parametrize("name", OURS)
def test_our_containers_have_no_rights_they_do_not_need(services: dict[str, Any], name: str) -> None:
    service = services[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_a_stopping_service_has_as_long_as_a_request_may_take(services: dict[str, Any]) -> None:
    for name in CALLED:
        timeout = float(_filled_in(services[name]["environment"]["LUMNI_REQUEST_TIMEOUT_S"]))
        assert float(services[name]["stop_grace_period"].removesuffix("s")) > timeout


def test_prometheus_asks_every_service_where_it_listens(services: dict[str, Any]) -> None:
    jobs = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    asked = {found["names"][0]: found["port"] for job in jobs for found in job["dns_sd_configs"]}
    listening = {
        name: int(service["environment"]["LUMNI_METRICS_LISTEN"].rpartition(":")[2])
        for name, service in services.items()
        if "LUMNI_METRICS_LISTEN" in (service.get("environment") or {})
    }

    assert asked == listening


def test_the_collector_listens_where_the_services_send_and_has_both_destinations(
    services: dict[str, Any],
) -> None:
    collector = yaml.safe_load((ROOT / "deploy" / "collector.yaml").read_text())
    pipeline = collector["service"]["pipelines"]["traces"]
    environment = services["collector"]["environment"]

    port = collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"].rpartition(":")[2]
    assert {services[name]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"] for name in OURS} == {
        f"http://collector:{port}"
    }
    assert set(pipeline["receivers"]) <= set(collector["receivers"])
    assert set(pipeline["processors"]) <= set(collector["processors"])
    assert pipeline["exporters"] == ["${env:LUMNI_TRACES_TO}"]
    assert _filled_in(environment["LUMNI_TRACES_TO"]) in collector["exporters"]
    assert "otlphttp/portkey" in collector["exporters"]
    used = set(re.findall(r"\$\{env:(\w+)\}", (ROOT / "deploy" / "collector.yaml").read_text()))
    assert used == set(environment)


def test_the_collector_keeps_every_error_and_every_slow_request(services: dict[str, Any]) -> None:
    text = (ROOT / "deploy" / "collector.yaml").read_text()
    for name, value in services["collector"]["environment"].items():
        text = text.replace(f"${{env:{name}}}", _filled_in(str(value)))
    collector = yaml.safe_load(text)
    sampling = collector["processors"]["tail_sampling"]
    policies = {one["type"]: one[one["type"]] for one in sampling["policies"]}

    assert ["ERROR"] == policies["status_code"]["status_codes"]
    assert 10_000 == policies["latency"]["threshold_ms"]
    assert 10 == policies["probabilistic"]["sampling_percentage"]
    # A trace is decided after the slowest that counts as quick has ended.
    assert int(sampling["decision_wait"].removesuffix("s")) * 1000 > policies["latency"]["threshold_ms"]
    # What is decided is bounded, and so is what is refused before.
    order = collector["service"]["pipelines"]["traces"]["processors"]
    assert order.index("memory_limiter") < order.index("tail_sampling") < order.index("batch")
    # The services record every trace, so that there is something to choose from.
    assert not [name for name in OURS if "OTEL_TRACES_SAMPLER_ARG" in services[name]["environment"]]
    assert "collector-contrib" in services["collector"]["image"]


def test_every_container_has_a_memory_limit(services: dict[str, Any]) -> None:
    assert not [name for name, service in services.items() if "mem_limit" not in service]


def test_the_gateway_may_open_more_files_than_it_takes_connections(services: dict[str, Any]) -> None:
    for name in ("gateway", "together"):
        assert services[name]["ulimits"]["nofile"]["soft"] >= 4 * 1024
