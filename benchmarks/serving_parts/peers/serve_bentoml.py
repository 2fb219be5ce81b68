"""BentoML: two workers of one service; run with ``bentoml serve serve_bentoml:Classify``."""

from pathlib import Path

import bentoml
from classifier import WORKERS, Classifier


@bentoml.service(workers=WORKERS, traffic={"timeout": 120}, logging={"access": {"enabled": False}})
class Classify:
    """The upload arrives as a file."""

    def __init__(self) -> None:
        self.classifier = Classifier()

    @bentoml.api
    def predict(self, image: Path) -> dict[str, list[float]]:
        """One image."""
        return {"probabilities": self.classifier.predict(image.read_bytes())}
