"""Short recordings of two coloured dots on moving jaws, with what cameras do to them, and the truth beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

RED, GREEN, BLUE, ORANGE = (205, 40, 45), (35, 165, 75), (40, 80, 200), (225, 120, 40)
RIM = 64  # px
STEPS = 6  # pictures that a blurred one is the mean of


@dataclass(frozen=True)
class Scene:
    """What is drawn."""

    seed: int = 0
    n_frames: int = 150
    width: int = 320
    height: int = 240
    radius: float = 5.0
    colours: tuple = (RED, GREEN)
    jaw: tuple = (60, 60, 65)
    speed: float = 1.0
    noise: float = 4.0
    exposure: float = 0.4
    """Share of the time between frames that the shutter is open."""
    distortion: float = -0.25
    occluders: int = 1
    reach: float = 0.3
    """Of the motion, in parts of the picture's size; more than 0.45 leaves it."""
    gains: tuple = (1.0, 1.0)
    """Of the brightness, at the beginning and at the end, with an oscillation of a tenth between."""
    decoys: int = 0
    """Things in the background with the colour of a dot."""


class Recording(NamedTuple):
    """Frames and truth."""

    frames: np.ndarray
    positions: np.ndarray
    """Of the dots `(n_frames, 2, 2)` [px]."""
    share: np.ndarray
    """Of each dot that is seen `(n_frames, 2)`."""


class _Lens:
    """Points and pictures through a lens with radial distortion."""

    def __init__(self, width, height, distortion):
        self.camera = np.array([[0.9 * width, 0, width / 2], [0, 0.9 * width, height / 2], [0, 0, 1]])
        self.coefficients = np.array([distortion, 0.05, 0.001, -0.001, 0.0])
        grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).reshape(-1, 1, 2).astype(np.float64)
        straight = cv2.undistortPoints(grid, self.camera, self.coefficients, P=self.camera)
        self._map = (straight.reshape(height, width, 2) + RIM).astype(np.float32)

    def picture(self, straight):
        """Of one that is wider by RIM on each side, since such a lens sees more."""
        return cv2.remap(straight, self._map, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)

    def points(self, straight):
        flat = np.reshape(straight, (-1, 2))
        rays = np.c_[(flat - self.camera[:2, 2]) / self.camera[0, 0], np.ones(len(flat))]
        bent, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), self.camera, self.coefficients)
        return bent.reshape(np.shape(straight))


class _Motion:
    """Smooth random places of the jaws, and of things that pass in front of them."""

    def __init__(self, scene, rng):
        self.scene, size = scene, np.array([scene.width, scene.height])
        self._rates = rng.uniform(0.5, 1.6, (4, 3)) * scene.speed * 2 * np.pi / 75
        self._phases = rng.uniform(0, 2 * np.pi, (4, 3))
        self._weights = np.array([0.6, 0.3, 0.1])
        self._size = size
        times = np.linspace(0.2, 0.85, max(1, scene.occluders)) * scene.n_frames
        self._times = times + rng.uniform(-0.05, 0.05, len(times)) * scene.n_frames
        self._sides = rng.uniform(0, 2 * np.pi, len(times))
        self._speeds = rng.uniform(2, 6, len(times))

    def dots(self, time):
        waves = np.sin(self._rates * time + self._phases) @ self._weights
        middle = self._size * (0.5 + self.scene.reach * waves[:2] * np.array([1.5, 1.2]))
        angle, opening = 0.9 * waves[2], self.scene.radius * (3.4 + 1.2 * waves[3])
        across = opening * np.array([np.cos(angle), np.sin(angle)])
        return np.stack([middle - across, middle + across])

    def bars(self, time):
        """Ends of the bars that pass `(n, 2, 2)` and half of their width."""
        ends = []
        for begin, side, speed in zip(self._times, self._sides, self._speeds, strict=True):
            normal = np.array([np.cos(side), np.sin(side)])
            middle = self.dots(begin).mean(0) + normal * speed * (time - begin)
            along = 2.0 * self._size.max() * np.array([-normal[1], normal[0]])
            ends.append((middle - along, middle + along))
        return np.array(ends[: self.scene.occluders]), 2.2 * self.scene.radius


def _background(scene, rng):
    """Smooth patches of weak colour, finer structure, and decoys."""
    shape = (scene.height + 2 * RIM, scene.width + 2 * RIM)
    coarse = rng.uniform(70, 200, (8, 10, 1)) + rng.uniform(-18, 18, (8, 10, 3))
    fine = rng.uniform(-40, 40, (shape[0] // 4, shape[1] // 4, 1))
    picture = cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
    picture += cv2.resize(fine, shape[::-1], interpolation=cv2.INTER_LINEAR)[..., None]
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    for index in range(scene.decoys):
        place = rng.uniform([0.1, 0.1], [0.9, 0.9]) * [scene.width, scene.height] + RIM
        half = scene.radius * rng.uniform(0.8, 1.6)
        corners = np.rint([place - half, place + half]).astype(int).tolist()
        cv2.rectangle(picture, corners[0], corners[1], scene.colours[index % 2], -1, cv2.LINE_AA)
    return picture


def _line(picture, begin, end, colour, half):
    ends = [np.rint(np.asarray(point) * 16).astype(int).tolist() for point in (begin, end)]
    cv2.line(picture, *ends, colour, round(2 * half), cv2.LINE_AA, 4)


def _disc(picture, centre, radius, colour):
    """An antialiased disc at a place between pixels."""
    height, width = picture.shape[:2]
    low = np.maximum(np.floor(centre - radius - 2).astype(int), 0)
    high = np.minimum(np.ceil(centre + radius + 3).astype(int), [width, height])
    if (low >= high).any():
        return
    x, y = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]))
    share = np.clip(radius + 0.5 - np.hypot(x - centre[0], y - centre[1]), 0, 1)[..., None]
    part = picture[low[1] : high[1], low[0] : high[0]]
    part[:] = np.rint(part * (1 - share) + np.array(colour) * share)


def _draw(scene, background, motion, time):
    picture, dots = background.copy(), motion.dots(time) + RIM
    middle, across = dots.mean(0), dots[1] - dots[0]
    _line(picture, (0.45 * scene.width + RIM, 1.3 * scene.height + RIM), middle, (215, 210, 205), 2.5 * scene.radius)
    for dot, colour in zip(dots, scene.colours, strict=True):
        forward = np.array([across[1], -across[0]]) / np.linalg.norm(across) * 3 * scene.radius
        _line(picture, middle - 0.5 * forward, dot + 0.3 * forward, scene.jaw, 1.8 * scene.radius)
        _disc(picture, dot, scene.radius, colour)
    bars, half = motion.bars(time)
    for begin, end in bars:
        _line(picture, begin + RIM, end + RIM, (120, 118, 112), half)
    return picture


def _seen(scene, lens, motion, time):
    """Share of each dot that no bar hides and that lies in the picture."""
    angles, radii = np.meshgrid(np.linspace(0, 2 * np.pi, 24, endpoint=False), np.sqrt(np.linspace(0.04, 0.96, 8)))
    inside = scene.radius * (radii[..., None] * np.stack([np.cos(angles), np.sin(angles)], -1)).reshape(-1, 2)
    points = motion.dots(time)[:, None] + inside
    bent = lens.points(points)
    free = ((bent > -0.5) & (bent < np.array([scene.width, scene.height]) - 0.5)).all(-1)
    bars, half = motion.bars(time)
    for begin, end in bars:
        normal = np.array([begin[1] - end[1], end[0] - begin[0]]) / np.linalg.norm(end - begin)
        free &= np.abs((points - begin) @ normal) > half
    return free.mean(-1)


def record(scene):
    """Draw a recording."""
    rng = np.random.default_rng(scene.seed)
    lens = _Lens(scene.width, scene.height, scene.distortion)
    background, motion = _background(scene, rng), _Motion(scene, rng)
    noise = rng.normal(0, scene.noise, (6, scene.height, scene.width, 3)).astype(np.float32)
    gains = np.linspace(*scene.gains, scene.n_frames) * (
        1 + (0.0 if scene.gains == (1.0, 1.0) else 0.1) * np.sin(np.arange(scene.n_frames) / 5)
    )
    frames, positions, share = [], [], []
    for index in range(scene.n_frames):
        times = index + scene.exposure * (np.arange(STEPS) - (STEPS - 1) / 2) / STEPS
        mean = np.mean([_draw(scene, background, motion, time) for time in times], 0, dtype=np.float32)
        bent = lens.picture(mean) * np.float32(gains[index]) + np.roll(noise[index % 6], 7 * index, 1)
        frames.append(np.clip(np.rint(bent), 0, 255).astype(np.uint8))
        positions.append(lens.points(motion.dots(index)))
        share.append(_seen(scene, lens, motion, index))
    return Recording(np.stack(frames), np.array(positions), np.array(share))
