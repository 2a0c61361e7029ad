"""Code of training is kept in a folder of the test session: a network is compiled once, not in each test."""

from tests.emit.kernels.conftest import own_cache

__all__ = ["own_cache"]
