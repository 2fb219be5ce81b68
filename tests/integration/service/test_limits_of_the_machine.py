"""What a few requests may take of the memory and the threads that the others need as well."""

from __future__ import annotations

import asyncio
import struct
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from services.dl_service.app import create_app
from services.dl_service.settings import ServiceSettings
from tests.servers.bundle import SIZE, BundleStore
from tests.servers.dl_service import ServiceProcess

GIB = 1024**3


def clear_png(side: int) -> bytes:
    """A small file of a large, wholly transparent picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(1)
    row = bytes(4 * side + 1)
    data = b"".join([packer.compress(row) for _ in range(side)]) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def highest_resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


def test_three_of_the_largest_images_at_once_fit_in_two_gib(
    bundle_store: BundleStore, make_service: Callable[..., ServiceProcess]
) -> None:
    service = make_service(
        ONSIGHT_CENTRAL_STORAGE_URL=bundle_store.url,
        ONSIGHT_INFERENCE_THREADS="3",
        ONSIGHT_MAX_BATCH="1",
        ONSIGHT_REQUEST_DEADLINE_S="120",
    )
    service.start()
    service.deploy(bundle_store.first)
    content = clear_png(7000)

    def ask(_: int) -> int:
        return httpx.post(f"{service.url}/predict", content=content, trust_env=False, timeout=150).status_code

    with ThreadPoolExecutor(3) as threads:
        statuses = list(threads.map(ask, range(3)))

    assert statuses == [200, 200, 200]
    assert highest_resident_bytes(service.pid) < 1.5 * GIB  # of 2 GiB: bodies and kept images take their part


def test_inference_is_parsed_while_every_thread_waits_for_the_database(
    bundle_store: BundleStore, tmp_path: Path
) -> None:
    images = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    tensor = {"name": "image", "datatype": "UINT8", "shape": list(images.shape), "data": images.ravel().tolist()}
    database_is_back = threading.Event()

    async def ask() -> httpx.Response:
        app = create_app(ServiceSettings(state_dir=tmp_path, central_storage_url=bundle_store.url))
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        async with app.router.lifespan_context(app), client_of(app) as client:
            (await client.put(f"/update_model/{bundle_store.first}.yaml")).raise_for_status()
            stuck = asyncio.ensure_future(asyncio.to_thread(database_is_back.wait, 60))
            try:
                return await client.post("/v2/models/cells/infer", json={"inputs": [tensor]}, timeout=20)
            finally:
                database_is_back.set()
                await stuck

    async def ask_in_time() -> httpx.Response:
        async with asyncio.timeout(40):
            return await ask()

    assert asyncio.run(ask_in_time()).status_code == 200


def client_of(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", timeout=60)
