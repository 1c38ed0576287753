"""Everything on one machine: PostgreSQL, Valkey, a small model and the services, from wheels.

`python -m services.local` starts them all; tests use the servers one by one.
"""

import os

# Read by gRPC when it is imported: the supervisor checks health over gRPC and forks, and the child inherits no gRPC.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
