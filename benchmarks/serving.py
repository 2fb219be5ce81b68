"""How the prediction service compares: with the limit of this machine, the reference design, and other servers.

    PYTHONPATH=. python benchmarks/serving.py
    PYTHONPATH=. python benchmarks/serving.py --quick --only limit,onsight,mosec

Every row serves the same networks and is asked with the same JPEG by 1, 8 and 32 clients; rows take turns in each
round. A row that answers wrongly, or anything but 200, is not measured. CPU is that of all of a server's processes.
Prints Markdown and writes benchmarks/results/serving.json (a run of some rows, or a quick one: into the work folder).
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
from PIL import Image

from benchmarks.serving_graph import cost_per_image, sessions
from benchmarks.serving_parts.contestants import Contestant, Place
from benchmarks.serving_parts.inputs import NETWORKS, Network, make_photograph, prepare
from benchmarks.serving_parts.limit import ARRANGEMENTS, measure_limit
from benchmarks.serving_parts.machine import describe_machine
from benchmarks.serving_parts.measure import Effort, take_turn
from benchmarks.serving_parts.onsight_rows import ONSIGHT_ROWS, ReferenceRow, seconds_to_ready
from benchmarks.serving_parts.peer_rows import PEERS
from benchmarks.serving_parts.processes import NotRunError, Tree
from benchmarks.serving_parts.report import report
from benchmarks.serving_parts.results import NetworkResults
from benchmarks.serving_parts.verdicts import judge
from onsight.images import read_image
from tests.servers.postgres import PostgresServer

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "serving.json"
PEER_NAMES = tuple(dict.fromkeys(peer.environment for peer in PEERS))
GROUPS: dict[str, tuple[Contestant, ...]] = {
    "onsight": ONSIGHT_ROWS,
    "reference": (ReferenceRow(),),
    **{name: tuple(peer for peer in PEERS if peer.environment == name) for name in PEER_NAMES},
}
CHOICES = ("limit", *GROUPS)
USUAL_NETWORKS = ("demo", "resnet50")
# The reference design answers about once a second.
SLOW = frozenset({ReferenceRow().name})


@dataclass(frozen=True)
class Plan:
    """What a run measures."""

    names: tuple[str, ...]
    networks: tuple[str, ...]
    rounds: int
    effort: Effort
    is_quick: bool

    def contestants(self, turn: int) -> list[Contestant]:
        """This round's order: every second round goes backwards."""
        chosen = [row for name in self.names if name in GROUPS for row in GROUPS[name]]
        return chosen if turn % 2 == 0 else chosen[::-1]

    def effort_for(self, row: str) -> Effort:
        """A quick run asks slow rows less."""
        return replace(self.effort, clients=self.effort.clients[:2]) if self.is_quick and row in SLOW else self.effort


def parse_plan(arguments: argparse.Namespace) -> Plan:
    """The plan that the command line asks for."""
    names = tuple(arguments.only.split(",")) if arguments.only else CHOICES
    if unknown := sorted(set(names) - set(CHOICES)):
        raise SystemExit(f"--only knows {', '.join(CHOICES)}; not {', '.join(unknown)}")
    seconds = arguments.seconds or (1.5 if arguments.quick else 5.0)
    rounds = arguments.rounds or (1 if arguments.quick else 3)
    networks = tuple(arguments.networks.split(",")) if arguments.networks else USUAL_NETWORKS
    return Plan(names, networks, rounds, Effort((1, 8, 32), seconds, min(seconds, 3.0)), arguments.quick)


def expected_probabilities(network: Network, photograph: bytes) -> list[list[float]]:
    """What a row must answer: the peers decode the whole photograph, ours may decode it at a reduced scale."""
    whole = Image.open(io.BytesIO(photograph)).resize((network.side, network.side), Image.Resampling.BICUBIC)
    images = np.stack([np.asarray(whole), read_image(photograph, network.side, network.side)])
    session = ort.InferenceSession(str(network.classifier_graph))
    found: list[list[float]] = session.run(None, {"image": images})[0].tolist()
    return found


def measure_round(plan: Plan, turn: int, network: Network, place: Place, results: NetworkResults) -> None:
    """One round of all rows on one network."""
    expected = expected_probabilities(network, place.photograph)
    if "limit" in plan.names:
        for arrangement in ARRANGEMENTS:
            limit = measure_limit(network, place, arrangement, plan.effort.duration_s)
            results.limits.setdefault(arrangement.name, {})[turn] = limit
    for contestant in plan.contestants(turn):
        name = contestant.name
        if name in results.not_run:
            continue
        started_s = time.monotonic()
        try:
            done = take_turn(contestant, network, place, plan.effort_for(name), expected)
            results.turns.setdefault(name, {})[turn] = done
            said = ", ".join(f"{cell.cpu_ms:g} ms at {cell.clients}" for cell in done.cells)
        except NotRunError as error:
            results.not_run[name] = said = " ".join(str(error).split())
        print(
            f"round {turn + 1}, {network.name}, {name}: {said} ({time.monotonic() - started_s:.0f} s)",
            file=sys.stderr,
            flush=True,
        )


def measure_drift_share(network: Network, rounds: int) -> dict[int, float]:
    """What drift features add to the classifier's inference, by batch size."""
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(shutil.copy(network.graph, folder))
        parts = {
            name: part for name, part in sessions(graph).items() if name in ("probabilities", "with drift features")
        }
        shares = {}
        for batch_size in (1, 8):
            costs = cost_per_image(parts, network.side, batch_size, rounds)
            shares[batch_size] = round(costs["with drift features"] / costs["probabilities"] - 1, 4)
        return shares


@contextmanager
def open_place(work: Path, workers: int) -> Iterator[Place]:
    """A Postgres, and what else the rows share."""
    work.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="onsight-bench-postgres-"))
    folder.chmod(0o755)  # Postgres runs as a user of its own when this runs as root
    server = PostgresServer(folder / "data")
    try:
        pid = int((folder / "data" / "postmaster.pid").read_text(encoding="utf-8").split()[0])
        yield Place(work, make_photograph(), server, Tree(pid), workers)
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)


def write(path: Path, plan: Plan, machine: dict[str, object], networks: dict[str, NetworkResults]) -> None:
    """All numbers of all rounds, and the verdicts."""
    found = {
        name: {**asdict(results), "verdicts": [asdict(verdict) for verdict in judge(name, results)]}
        for name, results in networks.items()
    }
    content = {"machine": machine, "plan": asdict(plan), "networks": found}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Measures what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round: to try it out, not to quote")
    parser.add_argument("--only", default="", help=f"some of {','.join(CHOICES)}")
    parser.add_argument("--networks", default="", help=f"some of {','.join(NETWORKS)}")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.0, help="of one measurement")
    parser.add_argument("--workers", type=int, default=2, help="worker processes of every server that has them")
    parser.add_argument("--work", type=Path, default=ROOT / ".onsight" / "benchmarks" / "serving")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that every server is stopped
    plan, work = parse_plan(arguments), arguments.work.absolute()
    is_whole = not (arguments.quick or arguments.only or arguments.networks)
    output = RESULTS if is_whole else work / RESULTS.name
    machine = describe_machine()
    networks = {name: prepare(work, name) for name in plan.networks}
    results = {name: NetworkResults(network.side) for name, network in networks.items()}
    with open_place(work, arguments.workers) as place:
        for turn in range(plan.rounds):
            for name, network in networks.items():
                measure_round(plan, turn, network, place, results[name])
                write(output, plan, machine, results)
        if "onsight" in plan.names:
            for name, network in networks.items():
                results[name].ready_s = seconds_to_ready(network, place, starts=3)
                results[name].drift_share = measure_drift_share(network, 5 if arguments.quick else 25)
    write(output, plan, machine, results)
    print(report(results, machine))
    print(f"\nAll numbers: {output}", file=sys.stderr)


if __name__ == "__main__":
    main()
