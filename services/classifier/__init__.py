"""The classifier says what is asked, and whether it needs a powerful model.

Stateless: the same conversation and weights always earn the same classification. Numpy, tokenizers and small
weights in the repository; no network, no accelerator.
"""

import os

# The products are too small to share: idle threads of OpenBLAS, spinning, would triple the CPU time of a batch. The
# variable is read when numpy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
