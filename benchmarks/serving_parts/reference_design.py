"""The widely copied design that the targets are counted from, written again: one FastAPI process around Keras.

As it is usually written: ``model.predict`` per request, a gradient-tape heat map whose model is rebuilt per request,
three optimised PNGs, their base64 in the database's rows, and a new database engine per request. Settings come from
the environment: BENCH_MODEL, BENCH_ENCODER, BENCH_DATABASE, BENCH_PORT.
"""

from __future__ import annotations

import base64
import io
import json
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import keras
import matplotlib as mpl
import numpy as np
import tensorflow as tf
import uvicorn
from fastapi import FastAPI, UploadFile
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import Column, DateTime, MetaData, String, Table, Text, create_engine, insert

FEATURES_LAYER, BBSD_LAYER = "features_map", "classifier"
METADATA = MetaData()
PREDICTIONS = Table(
    "reference_predictions",
    METADATA,
    Column("id", String, primary_key=True),
    Column("created_at", DateTime(timezone=True)),
    *(Column(name, Text) for name in ("input_img", "raw_hm_img", "overlaid_img", "prediction", "uae", "bbsd")),
)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Loads the network and makes the table."""
    app.state.model = keras.models.load_model(os.environ["BENCH_MODEL"])
    app.state.encoder = keras.models.load_model(os.environ["BENCH_ENCODER"])
    app.state.bbsd = keras.Model(app.state.model.inputs, app.state.model.get_layer(BBSD_LAYER).output)
    engine = create_engine(os.environ["BENCH_DATABASE"])
    METADATA.create_all(engine)
    engine.dispose()
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/health")
async def health() -> dict[str, str]:
    """Whether it answers."""
    return {"status": "ok"}


@app.post("/predict/")
async def predict(file: UploadFile) -> dict[str, Any]:
    """Prediction, drift features and both images; all of it goes into a row."""
    image = Image.open(io.BytesIO(await file.read())).convert("RGB")
    model, encoder = app.state.model, app.state.encoder
    height, width = model.input_shape[1:3]
    batch = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))[np.newaxis].astype(np.float32)
    small = np.asarray(image.resize(encoder.input_shape[1:3], Image.Resampling.BICUBIC))[np.newaxis].astype(np.float32)
    prediction = model.predict(batch, verbose=0)[0]
    uae = encoder.predict(small, verbose=0)[0]
    bbsd = app.state.bbsd.predict(batch, verbose=0)[0]
    heat_map = color(make_heat_map(model, batch, int(prediction.argmax())), image.size)
    overlaid = Image.blend(image, heat_map, 0.4)
    input_img, raw_hm_img, overlaid_img = (encode(picture) for picture in (image, heat_map, overlaid))
    row = {
        "id": str(uuid.uuid4()),
        "created_at": datetime.now(UTC),
        "input_img": input_img,
        "raw_hm_img": raw_hm_img,
        "overlaid_img": overlaid_img,
        "prediction": json.dumps(prediction.tolist()),
        "uae": json.dumps(uae.tolist()),
        "bbsd": json.dumps(bbsd.tolist()),
    }
    engine = create_engine(os.environ["BENCH_DATABASE"])
    with engine.begin() as connection:
        connection.execute(insert(PREDICTIONS), row)
    engine.dispose()
    return {"probabilities": prediction.tolist(), "raw_hm_img": raw_hm_img, "overlaid_img": overlaid_img}


def make_heat_map(model: keras.Model, batch: NDArray[np.float32], index: int) -> NDArray[np.float32]:
    """Grad-CAM of one class, [h, w] in 0..1, on a model that is built for the occasion."""
    inner = keras.Model(model.inputs, [model.get_layer(FEATURES_LAYER).output, model.output])
    with tf.GradientTape() as tape:
        features, probabilities = inner(batch)
        score = probabilities[:, index]
    weights = tf.reduce_mean(tape.gradient(score, features), axis=(0, 1, 2))
    evidence = tf.nn.relu(tf.squeeze(features[0] @ weights[:, tf.newaxis]))
    heat: NDArray[np.float32] = (evidence / (tf.reduce_max(evidence) + 1e-12)).numpy()
    return heat


def color(heat: NDArray[np.float32], size: tuple[int, int]) -> Image.Image:
    """In the colours of jet, as large as the upload."""
    table = (mpl.colormaps["jet"](np.arange(256))[:, :3] * 255).astype(np.uint8)
    return Image.fromarray(table[np.uint8(255 * heat)]).resize(size, Image.Resampling.BICUBIC)


def encode(image: Image.Image) -> str:
    """Base64 of an optimised PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["BENCH_PORT"]), access_log=False, log_level="warning")
