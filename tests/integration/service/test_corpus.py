"""The whole corpus against a real service: a right answer to each file, and a service that is none the worse for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from tests.servers import pictures
from tests.servers.bundle import BundleStore
from tests.servers.corpus import CorpusFile, corpus
from tests.servers.dl_service import ServiceProcess

ROUNDS = 3
BATCH = 16
# Between the first round, after which every decoder's buffers are there, and the last.
MAX_GROWTH_BYTES = 48 * 1024 * 1024


@pytest.fixture(scope="module")
def files() -> list[CorpusFile]:
    return corpus()


@pytest.fixture(scope="module")
def target(bundle_store: BundleStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service with its ordinary limits."""
    running = ServiceProcess(tmp_path_factory.mktemp("corpus"), ONSIGHT_CENTRAL_STORAGE_URL=bundle_store.url)
    running.start()
    running.deploy(bundle_store.first)
    yield running
    running.kill()


def resident_bytes(service: ServiceProcess) -> int:
    return sum(process.memory_info().rss for process in service.family())


def answer_of(response: httpx.Response) -> tuple[int, object]:
    body = response.json()
    return response.status_code, body["prediction"] if response.is_success else body["code"]


def send_all(http: httpx.Client, files: list[CorpusFile]) -> tuple[list[str], Counter[int]]:
    """Sends every file in both ways; gives what was wrong, and how often each status came."""
    wrong: list[str] = []
    statuses: Counter[int] = Counter()
    for file in files:
        raw = http.post("/predict", content=file.content)
        form = http.post("/predict", files={"file": (f"{file.name}.jpg", file.content, "image/jpeg")})
        statuses.update((raw.status_code, form.status_code))
        if raw.status_code not in file.expected:
            wrong.append(f"{file.name}: {raw.status_code}, not one of {sorted(file.expected)}: {raw.text[:200]}")
        if answer_of(raw) != answer_of(form):
            wrong.append(f"{file.name}: raw {answer_of(raw)}, form {answer_of(form)}")
    return wrong, statuses


def test_corpus_is_large_and_the_same_each_time(files: list[CorpusFile]) -> None:
    assert len(files) >= 300
    assert len({file.name for file in files}) == len(files)
    assert corpus() == files


@pytest.mark.timeout(600)
def test_corpus_gets_right_answers_and_does_no_harm(target: ServiceProcess, files: list[CorpusFile]) -> None:
    with httpx.Client(base_url=target.url, trust_env=False, timeout=60) as http:
        before = answer_of(http.post("/predict", content=pictures.jpeg()))
        pids = {process.pid for process in target.family()}
        sizes: list[int] = []
        for _ in range(ROUNDS):
            wrong, statuses = send_all(http, files)
            assert wrong == []
            assert max(statuses) < 500
            assert answer_of(http.post("/predict", content=pictures.jpeg())) == before
            sizes.append(resident_bytes(target))
        assert {process.pid for process in target.family()} == pids
        assert http.get("/health_check").is_success
    print(f"{len(files)} files, {ROUNDS} rounds: {dict(statuses)}, resident MiB {[size >> 20 for size in sizes]}")
    assert before[0] == 200
    assert sizes[-1] - sizes[0] < MAX_GROWTH_BYTES, sizes


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_corpus_with_explanations_gets_the_same_answers(target: ServiceProcess, files: list[CorpusFile]) -> None:
    wrong: list[str] = []
    unexplained = 0
    with httpx.Client(base_url=target.url, trust_env=False, timeout=60) as http:
        for file in files:
            plain = http.post("/predict", content=file.content)
            explained = http.post("/predict?explain=both&explain_format=png", content=file.content)
            if answer_of(plain) != answer_of(explained):
                wrong.append(f"{file.name}: {answer_of(plain)}, explained {answer_of(explained)}")
            unexplained += explained.is_success and not explained.json().get("overlaid_img")
        healthy = http.get("/health_check").is_success
    assert wrong == []
    assert unexplained == 0  # pixels that can be answered can be shown
    assert healthy


@pytest.mark.timeout(600)
def test_corpus_in_batches_gets_an_answer_for_each_file(target: ServiceProcess, files: list[CorpusFile]) -> None:
    small = [file for file in files if len(file.content) < 600_000]
    wrong: list[str] = []
    with httpx.Client(base_url=target.url, trust_env=False, timeout=60) as http:
        for start in range(0, len(small), BATCH):
            batch = small[start : start + BATCH]
            form = [("file", (file.name, file.content, "image/jpeg")) for file in batch]
            answer = http.post("/predict/batch", files=form)
            assert answer.status_code == 200, answer.text[:300]
            items = answer.json()["items"]
            assert [item["file_name"] for item in items] == [file.name for file in batch]
            for file, item in zip(batch, items, strict=True):
                status = 200 if item["problem"] is None else item["problem"]["status"]
                if status not in file.expected:
                    wrong.append(f"{file.name}: {status}")
        assert http.get("/health_check").is_success
    assert wrong == []
