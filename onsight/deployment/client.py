"""The HTTP client of dl_service: point it at a bundle, wait until it serves it, check what it answers."""

from __future__ import annotations

import io
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import SecretStr

from onsight.db import GOLDEN_REQUEST_PREFIX
from onsight.errors import BundleError, ConfigError, DependencyError

__all__ = ["DeployClient", "GoldenCheck"]

_POLL_S = 0.1


@dataclass(frozen=True)
class GoldenCheck:
    """Golden images sent through HTTP, and how far the answers were from the golden outputs.

    Attributes:
        max_difference: Largest absolute difference of any probability.
    """

    n_images: int
    max_difference: float
    tolerance: float


class DeployClient:
    """Talks to one dl_service. Every call but ``livez`` raises ConfigError where the API key is not the right one.

    Args:
        service_url: Such as ``http://127.0.0.1:4242``.
        timeout_s: For one request; loading a bundle gets ``load_timeout_s``.
        api_key: Sent with every request unless empty; deploying needs one with the scope ``admin``.
    """

    def __init__(
        self,
        service_url: str,
        timeout_s: float = 10.0,
        load_timeout_s: float = 60.0,
        api_key: SecretStr | None = None,
    ) -> None:
        self.service_url = service_url.rstrip("/")
        self._load_timeout_s = load_timeout_s
        # The service is on this network: proxies from the environment are not for it.
        key = api_key.get_secret_value() if api_key else ""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=self.service_url, timeout=timeout_s, trust_env=False, headers=headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def livez(self) -> Mapping[str, Any] | None:
        """What ``GET /livez`` of a dl_service says, or None when nothing listens there.

        Raises:
            DependencyError: Something listens that is not dl_service, or does not answer in time.
        """
        try:
            response = self._http.get("/livez")
            answer = response.json()
        except httpx.ConnectError:
            return None
        except (httpx.HTTPError, ValueError) as error:
            raise self._not_ours() from error
        if not isinstance(answer, dict) or answer.get("service") != "dl_service":
            raise self._not_ours()
        return answer

    def update_model(self, bundle_name: str, reason: str = "") -> Mapping[str, Any]:
        """Points the service at a bundle.

        Raises:
            BundleError: The service refuses the bundle; it serves what it served before.
            DependencyError: The service does not answer, or cannot reach its storage or database.
        """
        path = f"/update_model/{bundle_name}.yaml"
        response = self._request("PUT", path, params={"reason": reason}, timeout=self._load_timeout_s)
        if response.is_success:
            return self._object(response)
        problem = _problem(response)
        message = f"{self.service_url} did not take {bundle_name}: {problem['detail']} ({problem['code']})"
        if response.status_code in (httpx.codes.NOT_FOUND, httpx.codes.UNPROCESSABLE_ENTITY):
            raise BundleError(message, problem["hint"], code=problem["code"], bundle=bundle_name)
        raise DependencyError(message, problem["hint"], code=problem["code"], bundle=bundle_name)

    def serving(self) -> str | None:
        """The name of the bundle that takes traffic, or None.

        Raises:
            DependencyError: The service does not answer.
        """
        response = self._request("GET", "/models/current")
        serving = self._object(response).get("serving")
        return str(serving["bundle_name"]) if serving else None

    def wait_until_served(self, bundle_name: str, timeout_s: float) -> None:
        """Waits until the service serves that bundle and its model answers a real inference.

        Raises:
            DependencyError: It does not within ``timeout_s``.
        """
        deadline_s = time.monotonic() + timeout_s
        while True:
            serving = self.serving()
            if serving == bundle_name and self._request("GET", "/health_check").is_success:
                return
            if time.monotonic() > deadline_s:
                raise DependencyError(
                    f"{self.service_url} serves {serving or 'no model'} and not {bundle_name} after {timeout_s:g} s",
                    "its log says why; is it one of several replicas, or did someone else deploy?",
                    serving=serving,
                )
            time.sleep(_POLL_S)

    def predict_golden(self, image_rgb_hwc: NDArray[np.uint8]) -> Mapping[str, Any]:
        """Sends one golden image, uint8 [H, W, 3] RGB, as lossless PNG, marked as such in its request id.

        Raises:
            DependencyError: The service does not answer it.
        """
        encoded = io.BytesIO()
        Image.fromarray(image_rgb_hwc).save(encoded, "PNG", compress_level=1)
        files = {"file": ("golden.png", encoded.getvalue(), "image/png")}
        headers = {"X-Request-ID": f"{GOLDEN_REQUEST_PREFIX}{uuid.uuid4().hex}"}
        response = self._request("POST", "/predict", files=files, headers=headers)
        if not response.is_success:
            problem = _problem(response)
            raise DependencyError(
                f"{self.service_url} does not answer a golden image: {problem['detail']} ({problem['code']})",
                problem["hint"],
            )
        return self._object(response)

    def check_golden(
        self,
        bundle_name: str,
        golden: tuple[NDArray[np.uint8], NDArray[np.float32]],
        classes: Sequence[str],
        tolerance: float,
    ) -> GoldenCheck:
        """Sends the golden images and compares the answers with the golden outputs.

        Args:
            golden: Images uint8 [M, H, W, 3] at the network's input size; the probabilities of each of the bundle's V
                variants, float32 [V, M, C], one of which must be the answer: another processor may serve another.
            classes: In the order of the outputs.
            tolerance: Of any probability.

        Raises:
            DependencyError: Another version answers, or the answers are too far off.
        """
        images, expected = golden
        largest = 0.0
        for image, probabilities in zip(images, np.moveaxis(expected, 1, 0), strict=True):
            answer = self.predict_golden(image)
            answered_by = f"{answer['model_name']}-v{answer['model_version']}"
            if answered_by != bundle_name:
                raise DependencyError(f"{self.service_url} answered with {answered_by}, not with {bundle_name}")
            given = np.array([answer["prediction"][name] for name in classes])
            largest = max(largest, float(np.abs(given - probabilities).max(axis=1).min()))
        if not largest <= tolerance:
            raise DependencyError(
                f"{self.service_url} answers the golden images of {bundle_name} with probabilities that are "
                f"{largest:.4f} off; {tolerance:g} is allowed",
                "the service decodes or infers otherwise than training did: compare the two environments",
                max_difference=largest,
            )
        return GoldenCheck(len(images), largest, tolerance)

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own options
        try:
            response = self._http.request(method, path, **options)
        except httpx.TimeoutException as error:
            raise DependencyError(f"{self.service_url}{path} gave no answer in time", "its log says why") from error
        except httpx.HTTPError as error:
            raise DependencyError(
                f"dl_service at {self.service_url} does not answer: {error}",
                "start it (`python -m services.dl_service`), or set deploy.service_url",
            ) from error
        if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise self._refused(_problem(response))
        return response

    def _refused(self, problem: Mapping[str, str]) -> ConfigError:
        return ConfigError(
            f"dl_service at {self.service_url} lets nobody in without the right API key: {problem['detail']}",
            "set ONSIGHT_SERVICE_API_KEY to a key with the scope admin "
            "(python -m services.dl_service.keys create --name deploy --scope admin)",
            code=problem["code"],
        )

    def _object(self, response: httpx.Response) -> Mapping[str, Any]:
        try:
            answer = response.json()
        except ValueError as error:
            raise self._not_ours() from error
        if not response.is_success or not isinstance(answer, dict):
            raise self._not_ours()
        return answer

    def _not_ours(self) -> DependencyError:
        return DependencyError(
            f"what listens at {self.service_url} is not dl_service",
            "stop it, or choose another port: DL_SERVICE_PORT and deploy.service_url",
        )


def _problem(response: httpx.Response) -> dict[str, str]:
    try:
        document = response.json()
        return {name: str(document[name]) for name in ("code", "detail", "hint")}
    except (ValueError, KeyError, TypeError):
        return {"code": str(response.status_code), "detail": response.text[:200], "hint": ""}
