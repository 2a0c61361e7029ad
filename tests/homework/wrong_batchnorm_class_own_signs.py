"""A class with signs of its own, which are right, and a square forgotten."""

# layer: batch_norm
# fix: dstd = -np.sum(dxn * self.xc / self.std ** 2, axis=0)
# faults: x:missing_factor
import numpy as np


class BatchNorm:
    def __init__(self, gamma, beta):
        self.gamma = gamma
        self.beta = beta

    def forward(self, x):
        mu = x.mean(axis=0)
        self.xc = x - mu
        self.std = np.sqrt(np.mean(self.xc**2, axis=0) + 1e-5)
        self.xn = self.xc / self.std
        self.N = x.shape[0]
        return self.gamma * self.xn + self.beta

    def backward(self, dout):
        self.dbeta = dout.sum(axis=0)
        self.dgamma = np.sum(self.xn * dout, axis=0)
        dxn = self.gamma * dout
        dxc = dxn / self.std
        dstd = -np.sum((dxn * self.xc) / self.std, axis=0)
        dvar = 0.5 * dstd / self.std
        dxc += (2.0 / self.N) * self.xc * dvar
        dmu = np.sum(dxc, axis=0)
        dx = dxc - dmu / self.N
        return dx
