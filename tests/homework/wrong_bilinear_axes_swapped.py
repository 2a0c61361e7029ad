"""Two axes of the gradient are swapped."""
# layer: bilinear
# faults: A:transpose|shape

import numpy as np


def bilinear_backward(dout, cache):
    x, A, z = cache
    dx = np.einsum("ik,dek,ie->id", dout, A, z)
    dA = np.einsum("id,ie,ik->edk", x, z, dout)
    dz = np.einsum("ik,dek,id->ie", dout, A, x)
    return dx, dA, dz
