"""A page in the browser: drag the frame, see the answers; switch robot, network and refinement.

Needs `pip install hybrid-ik[viewer]`. Usage: python examples/05_web.py [--robot panda] [--port 8080] [--seconds 60]
Without a terminal the page closes by itself after five seconds.
"""

import argparse
import sys

import numpy as np

from hybrid_ik import Pose
from hybrid_ik.apps.web import serve

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--robot", default="panda", help="a shipped name, a file, or a robot_descriptions name")
parser.add_argument("--port", type=int, default=8080, help="the next free one is taken if it is in use")
parser.add_argument("--seconds", type=float, default=None if sys.stdout.isatty() else 5.0, help="until it closes")
options = parser.parse_args()

with serve(options.robot, port=options.port) as page:  # 127.0.0.1: this machine only
    if page.port != page.asked_port:
        print(f"port {page.asked_port} is in use")
    print(f"open {page.url} and drag the frame; Ctrl-C ends")

    # What a drag in the browser does, from here: the newest target is the one that is answered.
    explorer = page.explorer
    start = explorer.target
    for step in np.linspace(0.0, 0.1, 20):
        page.move(Pose(start.position + np.array([0.0, step, 0.0]), start.quaternion))
    page.worker.settle()
    print(f"{len(explorer.shown.result)} answers in {1e3 * explorer.shown.seconds:.1f} ms")
    page.go_home()
    try:
        page.wait(options.seconds)
    except KeyboardInterrupt:
        print()
