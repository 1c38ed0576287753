"""Which addresses lie in the operator's own network, going by how they are written: no name is looked up."""

import ipaddress
from urllib.parse import urlsplit

# Endings of names that no public server has.
_ENDINGS = (".internal", ".local", ".localhost", ".lan", ".home.arpa", ".svc", ".cluster.local", ".test")


def is_private(url: str) -> bool:
    """Whether a URL leads to this machine or into a private network; False for what cannot be read."""
    try:
        host = (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # A name of one word is known only to the network that it is in, as those of Docker and Kubernetes are.
        return bool(host) and ("." not in host or host.endswith(_ENDINGS))
    return not address.is_global
