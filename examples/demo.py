"""What `make demo` runs: one pose of a Panda, 16 distinct answers, a table, a picture, and the way to a film.

Usage: python examples/demo.py [FILE.png]
"""

import sys
import time
from pathlib import Path

from hybrid_ik import HybridSolver, Pose, RenderingUnavailableError, render_answers, save_png
from hybrid_ik.apps.tables import answers_table, seconds

TARGET = Pose(position=[0.45, 0.15, 0.45], quaternion=[0, 1, 0, 0])  # the flange, looking down
ANSWERS = 16
REPEATS = 20


def main(picture: str = "demo.png") -> None:
    print("hybrid_ik: one pose of a Franka Panda, 16 answers (the first run compiles the kernels)\n", flush=True)
    solver = HybridSolver("panda", sampler="meanflow")
    solver.solve(TARGET, n_solutions=ANSWERS)

    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        result = solver.solve(TARGET, n_solutions=ANSWERS)
        times.append(time.perf_counter() - started)

    print(f"flange at {TARGET.position} m, quaternion {TARGET.quaternion} (wxyz); joints in degrees\n")
    print(answers_table(solver.robot, result))
    print(f"\n{result.success.sum()} distinct answers in {seconds(sorted(times)[REPEATS // 2])}", end=" ")
    print(f"(median of {REPEATS} solves)")
    try:
        save_png(picture, render_answers(solver.robot, result.q, TARGET))
        print(f"wrote {picture}")
        print(f"\nand now one that moves:\n  {film_command()}")
    except RenderingUnavailableError as error:
        print(error)


def film_command() -> str:
    """What draws the arm along one whole curve of answers, as it can be typed here."""
    program = Path(sys.executable).with_name("hybrid-ik")
    here = program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program
    pose = [f"{x:g}" for x in (*TARGET.position, *TARGET.quaternion)]
    where = f"--position {' '.join(pose[:3])} --quaternion {' '.join(pose[3:])}"
    return f"{here if program.exists() else 'hybrid-ik'} solve {where} --gif demo.gif"


if __name__ == "__main__":
    main(*sys.argv[1:2])
