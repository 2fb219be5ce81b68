"""How much memory and time the drift monitor's window takes: a million predictions in a real Postgres.

    python benchmarks/monitor_window.py --rows 1000000

Prints a line for each window and writes benchmarks/results/monitor_window.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import text

from onsight.db import WindowQuery, open_database, read_window, upgrade
from tests.servers.postgres import PostgresServer

RESULTS = Path(__file__).parent / "results" / "monitor_window.json"
UAE_DIMS, KEPT_ROWS = 32, 20_000
BATCH = 50_000

# Random features of the demo model's sizes, made by the server itself.
FILL = f"""
INSERT INTO predictions (prediction_id, request_id, model_name, model_version, created_at, probabilities, top_class,
    confidence, uae_feats, bbsd_feats, image_sha256, image_bytes, image_width, image_height, image_format, client,
    timings_ms, image_brightness, image_contrast, image_sharpness)
SELECT gen_random_uuid(), 'r', 'cells', 1, now() - n * interval '100 milliseconds', p, 'a', 0.9,
    ARRAY[{", ".join(["random()"] * UAE_DIMS)}], p, repeat('0', 64), 1000, 300, 300,
    'PNG', 'c', '{{"decode": 1.5}}', random(), random(), random()
FROM generate_series(CAST(:start AS integer), CAST(:stop AS integer)) AS n,
    LATERAL (SELECT ARRAY[0.9, 0.1]::float8[] AS p) AS one
"""


def main() -> None:
    """Fill a database and measure windows of growing size, each read by a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--read", nargs=2, help="a database's URL and a window's rows: what each child does")
    arguments = parser.parse_args()
    if arguments.read:
        print(json.dumps(measure(arguments.read[0], int(arguments.read[1]))))
        return
    with tempfile.TemporaryDirectory(prefix="onsight-window-") as folder:
        Path(folder).chmod(0o755)
        server = PostgresServer(Path(folder) / "data")
        try:
            url = server.create_database()
            fill(url, arguments.rows)
            rows = [read(url, n) for n in (1_000, 10_000, 100_000, arguments.rows) if n <= arguments.rows]
        finally:
            server.close()
    RESULTS.write_text(json.dumps({"uae_dims": UAE_DIMS, "kept_rows": KEPT_ROWS, "windows": rows}, indent=2) + "\n")


def fill(url: str, rows: int) -> None:
    """Write the predictions in batches that end well before a statement's timeout."""
    database = open_database(url)
    upgrade(database)
    for start in range(1, rows + 1, BATCH):
        with database.transaction() as connection:
            connection.execute(text(FILL), {"start": start, "stop": min(start + BATCH - 1, rows)})
    with database.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("VACUUM ANALYZE predictions"))
    database.close()


def read(url: str, rows: int) -> dict[str, float]:
    """Measure in a child: a process's peak memory never falls."""
    command = [sys.executable, __file__, "--read", url, str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    print(result, flush=True)
    return result


def measure(url: str, rows: int) -> dict[str, float]:
    """Read one window; memory is what it took beyond what the imports had taken."""
    database = open_database(url)
    database.check()
    before_kib, started_s = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    window = read_window(database, WindowQuery("cells", 1, max_rows=rows, kept_rows=KEPT_ROWS))
    seconds = time.perf_counter() - started_s
    after_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    database.close()
    return {
        "window_rows": window.n_rows,
        "read_rows": len(window),
        "seconds": round(seconds, 2),
        "memory_mib": round((after_kib - before_kib) / 1024, 1),
        "peak_mib": round(after_kib / 1024, 1),
    }


if __name__ == "__main__":
    main()
