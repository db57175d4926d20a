"""Cut random crops from a user's model: windows of a file, stretched, warped and mirrored at random.

The file is resampled once to the grid's spacing (`data_gen.velocity.base.model_files`: slowness is averaged, which
keeps travel times). A window starts at a random cell and covers `scale` times the grid's extent. It is read at
`origin + scale (i, j) + displacement`, interpolated linearly between cells. Without scaling and warp the window is a
true sub-image. The displacement is a sum of the lowest sines of both directions, zero along the window's edges.

A family is tied to the content of its file: `sha256` is the hash of the file's velocities and spacing.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from data_gen.common.errors import InputError
from data_gen.solver.problem.grid import Grid
from data_gen.velocity.base.model_files import VelocityFile, read_velocity, to_grid
from data_gen.velocity.base.reproducible import reproducible

WAVES = 3  # sines of the warp in each direction
LARGEST_WARP = 0.1  # below 1 / (pi WAVES): no displacement is then steep enough to fold the model over itself


@dataclass(frozen=True)
class Crops:
    """Cut windows from the velocity model in a file.

    Attributes:
        path: Path of a .npy, .npz or SEG-Y file with a velocity model in m/s.
        sha256: SHA-256 of the file's content. Computed when the family is made; if given, the file must match it.
        spacing: Cell size of the file's model [m]; takes precedence over the file's value. With 0, the file's value is
            used or, if the file has none, the grid's spacing.
        min_scale: Smallest extent of a window, as a multiple of the grid's extent.
        max_scale: Largest extent of a window, as a multiple of the grid's extent.
        warp: Largest displacement, as a fraction of the grid's shorter side: 0 to 0.1.
        flip: Whether to mirror half of the windows left to right, chosen at random.
    """

    path: str = ""
    sha256: str = ""
    spacing: float = 0.0
    min_scale: float = 1.0
    max_scale: float = 1.0
    warp: float = 0.0
    flip: bool = True

    def __post_init__(self):
        if not self.path:
            raise InputError("Crops need the `path` of a velocity model (.npy, .npz or SEG-Y) to cut them from.")
        if not (0 < self.min_scale <= self.max_scale and 0 <= self.warp <= LARGEST_WARP):
            raise InputError(
                f"Crops need 0 < min_scale <= max_scale and a warp of 0 to {LARGEST_WARP}, but got {self.min_scale:g}, "
                f"{self.max_scale:g} and {self.warp:g}."
            )
        found = content_hash(read_velocity(self.path))
        if self.sha256 not in ("", found):
            raise InputError(
                f"The model in {self.path} is not the one this data set was made from: its content has sha256 "
                f"{found[:12]}..., expected {self.sha256[:12]}.... Restore that file, or start a new data set."
            )
        object.__setattr__(self, "sha256", found)

    @property
    def min_velocity(self) -> float:
        """The smallest velocity in the file [m/s]."""
        return float(_load(self.path, self.sha256).velocity.min())

    @property
    def max_velocity(self) -> float:
        """The largest velocity in the file [m/s]."""
        return float(_load(self.path, self.sha256).velocity.max())

    @reproducible
    def __call__(self, key: Key[Array, ""], grid: Grid) -> Float[Array, "nz nx"]:
        """Draw one model. See `Family.__call__`.

        Raises:
            InputError: If the file's model is too small for windows of `min_scale` times the grid.
        """
        image = jnp.asarray(_at_spacing(self.path, self.sha256, self.spacing, grid.spacing))
        (rows, columns), (nz, nx) = image.shape, grid.shape
        room = min((rows - 1) / (nz - 1), (columns - 1) / (nx - 1))
        if room < self.min_scale:
            raise InputError(
                f"The model in {self.path} has {rows} x {columns} cells of {grid.spacing:g} m, too few for windows of "
                f"{self.min_scale:g} times the grid's {nz} x {nx}: use a smaller grid or min_scale, or give the file's "
                "true spacing."
            )
        scale_key, origin_key, warp_key, flip_key = jax.random.split(key, 4)
        scale = jax.random.uniform(scale_key, minval=self.min_scale, maxval=min(self.max_scale, room))
        last = jnp.array([rows, columns]) - 1 - jnp.ceil(scale * (jnp.array([nz, nx]) - 1)).astype(int)
        origin = jax.random.randint(origin_key, (2,), 0, jnp.maximum(last, 0) + 1)
        z, x = jnp.meshgrid(jnp.arange(nz), jnp.arange(nx), indexing="ij")
        if self.flip:
            x = jnp.where(jax.random.bernoulli(flip_key), nx - 1 - x, x)
        at = [origin[0] + scale * z, origin[1] + scale * x]
        if self.warp:
            shift = scale * self.warp * min(nz, nx) * _displacement(warp_key, grid)
            at = [at[0] + shift[0], at[1] + shift[1]]
        model = jax.scipy.ndimage.map_coordinates(image, at, order=1, mode="nearest")
        return jnp.clip(model, self.min_velocity, self.max_velocity)


def content_hash(model: VelocityFile) -> str:
    """Hash the content of a model, whichever file format it was read from.

    Args:
        model: Velocities [m/s] and spacing [m].

    Returns:
        SHA-256 (hexadecimal) of the velocities in single precision, their shape and their spacing.
    """
    digest = hashlib.sha256(f"{model.velocity.shape} {model.spacing}".encode())
    digest.update(np.ascontiguousarray(model.velocity, "<f4").tobytes())
    return digest.hexdigest()


@lru_cache(maxsize=8)
def _load(path: str, sha256: str) -> VelocityFile:
    """Read the file once; raise `InputError` if its content has changed since the family was made."""
    model = read_velocity(path)
    if content_hash(model) != sha256:
        raise InputError(
            f"The model in {path} changed while it was in use. Start again, and leave the file unchanged until the end."
        )
    return model


@lru_cache(maxsize=8)
def _at_spacing(path: str, sha256: str, given: float, spacing: float) -> Float[np.ndarray, "_ _"]:
    """Resample the entire file to cells of `spacing` [m]."""
    model = _load(path, sha256)
    cell = given or model.spacing or spacing
    rows, columns = (int((cells - 1) * cell / spacing + 1e-6) + 1 for cells in model.velocity.shape)
    return to_grid(model, Grid((rows, columns), spacing), spacing=cell, origin=(0.0, 0.0))[0]


def _displacement(key: Key[Array, ""], grid: Grid) -> Float[Array, "2 nz nx"]:
    """Draw displacements along z and x within -1 to 1: sines of up to `WAVES` half periods, zero at the edges."""
    z, x = (np.pi * jnp.arange(cells) / (cells - 1) for cells in grid.shape)
    order = jnp.arange(1, WAVES + 1)
    modes = jnp.sin(order[:, None] * z)[:, None, :, None] * jnp.sin(order[:, None] * x)[None, :, None, :]
    heights = jax.random.uniform(key, (2, WAVES, WAVES), minval=-1.0) / (order[:, None] * order)
    heights /= jnp.sum(jnp.abs(heights), axis=(1, 2), keepdims=True)
    return jnp.sum(heights[..., None, None] * modes, axis=(1, 2))
