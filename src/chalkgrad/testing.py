"""For tests of other projects: `assert_backward`, as a function and as a pytest fixture.

    from chalkgrad.testing import assert_backward

    def test_affine():
        assert_backward(my_affine_backward, chalkgrad.layers.affine)

With pytest the fixture `assert_backward` is there without an import.
"""

from __future__ import annotations

from chalkgrad.diagnose.assertion import assert_backward

__all__ = ["assert_backward"]
