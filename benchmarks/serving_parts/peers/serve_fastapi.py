"""Plain FastAPI with ONNX Runtime: two uvicorn workers (uvloop, httptools), each with a session of its own."""

import uvicorn
from classifier import PORT, WORKERS, Classifier
from fastapi import FastAPI, File, UploadFile

app = FastAPI()
classifier = Classifier() if __name__ != "__main__" else None


@app.get("/health")
async def health() -> dict[str, str]:
    """Whether it answers."""
    return {"status": "ok"}


@app.post("/predict")
def predict(file: UploadFile = File()) -> dict[str, list[float]]:  # noqa: B008 - as FastAPI's documentation has it
    """A plain function, so that FastAPI runs it in its thread pool."""
    return {"probabilities": classifier.predict(file.file.read())}


if __name__ == "__main__":
    uvicorn.run("serve_fastapi:app", port=PORT, workers=WORKERS, access_log=False, log_level="warning")
