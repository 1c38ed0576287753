"""Everything on one machine: PostgreSQL, Valkey, a small model and the services, from wheels.

`python -m services.local` starts them all; tests use the servers one by one.
"""

import os

# Read by gRPC when it is imported: the supervisor asks for health and starts processes, which then share nothing.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
