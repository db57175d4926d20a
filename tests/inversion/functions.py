"""Functions with known minima as objectives of an optimizer, in float64, with derivatives by hand."""

from dataclasses import dataclass, field

import numpy as np

from surrogate.inversion.bounds import Bounds


@dataclass
class Function:
    """J(x) = factor (||r(x)||^2 / 2 + offset), where each class gives r, its Jacobian and its second derivatives.

    It counts what it is asked for. `bent` multiplies its products, so that they are wrong.
    """

    n: int = 10
    factor: float = 1.0
    offset: float = 0.0
    bent: float = 1.0
    shots: int = 1
    resolution: float = 1e-15
    precision: type = np.float64
    asked: dict[str, int] = field(default_factory=lambda: {"gradients": 0, "hessian_products": 0})

    def residual(self, x):
        raise NotImplementedError

    def jacobian(self, x):
        raise NotImplementedError

    def second(self, x):
        """The sum of r_i times the second derivatives of r_i."""
        raise NotImplementedError

    def value(self, x):
        return self.factor * (self.residual(x) @ self.residual(x) / 2 + self.offset)

    def value_and_gradient(self, x):
        self.asked["gradients"] += 1
        return float(self.precision(self.value(x))), self.factor * (self.jacobian(x).T @ self.residual(x))

    def gauss_newton_product(self, x, direction):
        self.asked["hessian_products"] += 1
        return self.bent * self.factor * (self.jacobian(x).T @ (self.jacobian(x) @ direction))

    def hessian_product(self, x, direction):
        return self.gauss_newton_product(x, direction) + self.bent * self.factor * (self.second(x) @ direction)


@dataclass
class Quadratic(Function):
    """A quadratic of condition number `condition`, whose minimum without bounds is `target`."""

    condition: float = 1e3

    def __post_init__(self):
        random = np.random.default_rng(0)
        rotation = np.linalg.qr(random.normal(size=(self.n, self.n)))[0]
        self.root = rotation * np.geomspace(1.0, np.sqrt(self.condition), self.n) @ rotation.T
        self.target = random.normal(size=self.n)

    def residual(self, x):
        return self.root @ (x - self.target)

    def jacobian(self, x):
        return self.root

    def second(self, x):
        return np.zeros((self.n, self.n))


@dataclass
class Rosenbrock(Function):
    """The chained Rosenbrock function: 50 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2 / 2, summed over i."""

    def residual(self, x):
        return np.concatenate([10.0 * (x[1:] - x[:-1] ** 2), 1.0 - x[:-1]])

    def jacobian(self, x):
        i, j = np.arange(self.n - 1), np.zeros((2 * self.n - 2, self.n))
        j[i, i], j[i, i + 1], j[i + self.n - 1, i] = -20.0 * x[:-1], 10.0, -1.0
        return j

    def second(self, x):
        return np.diag(np.append(-20.0 * self.residual(x)[: self.n - 1], 0.0))


def box(n: int, low: float, high: float) -> Bounds:
    """The same bounds for all values."""
    return Bounds(np.full(n, low), np.full(n, high))


def violation(function: Function, x: np.ndarray, bounds: Bounds) -> float:
    """How far the conditions for a minimum (KKT) are missed: the largest change by a projected step along -g."""
    gradient = function.jacobian(x).T @ function.residual(x)
    return float(np.abs(bounds.clip(x - gradient) - x).max())
