"""The exceptions of the package: misuse raises, not converging is data (see `hybrid_ik.result`)."""


class HybridIKError(Exception):
    """Base of every exception this package raises on purpose."""


class InvalidInputError(HybridIKError, ValueError):
    """An argument has the wrong shape, unit, range or is not a number; the message says which."""


class RobotError(HybridIKError, ValueError):
    """A model, or the arm asked for in it, cannot be used; the message lists what there is."""


class RobotNotAvailableError(RobotError):
    """A robot description could not be fetched or read; the message names the remedies."""


class CheckpointError(HybridIKError, ValueError):
    """A network file is missing, damaged, too new, or belongs to another arm."""


class DatasetError(HybridIKError, ValueError):
    """A recording is missing, damaged or not what was expected; the message says which episode and frame."""


class MissingPackageError(HybridIKError, ImportError):
    """A package that only this needs is not installed; the message says what brings it."""
