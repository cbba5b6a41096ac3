"""The thread pool where the operating system gives no threads."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

WORK = """
import hashlib, threading
import torch
import pydegrade
from pydegrade import ops

def digest():
    images = torch.rand(16, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    blurred = ops.blur(images, shape="iso", size_px=9, sigma_x_px=1.5)
    return hashlib.sha256(ops.jpeg(blurred, 40).numpy().tobytes()).hexdigest()

pydegrade.set_num_threads(1)
alone = digest()
refused = False
try:
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
except RuntimeError:
    refused = True
for threads in (2, 8, 3):
    pydegrade.set_num_threads(threads)
    for _ in range(3):
        assert digest() == alone
print(refused, pydegrade.get_num_threads())
"""


def no_threads() -> None:
    """In the child: a thread's stack is as large as RLIMIT_STACK says (pthread_create(3)), larger than all that may be
    mapped."""
    resource.setrlimit(resource.RLIMIT_STACK, (2**40, resource.getrlimit(resource.RLIMIT_STACK)[1]))
    resource.setrlimit(resource.RLIMIT_AS, (2**36, 2**36))


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's rule for the stacks of threads")
@pytest.mark.parametrize("limit", [None, no_threads])
def test_work_goes_on_where_threads_are_refused(limit):
    if limit is not None and resource.getrlimit(resource.RLIMIT_STACK)[1] != resource.RLIM_INFINITY:
        pytest.skip("the size of stacks is limited here")
    done = subprocess.run([sys.executable, "-c", WORK], capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(limit is not None), "3"]
