"""The peer of benchmarks/beside_hepinfo.py, run by the Python of an environment of its own.

    python hepinfo_peer.py SAMPLES.npz OUTPUTS.npz GAMMA SEED EPOCHS BATCH LEARNING_RATE

Trains hepinfo's `BinaryMI` of 45-64-32-1 with two layers of coins, and writes what it says of each
sample: arrays of SAMPLES with names "judge/..." come back under the same names.
"""

from __future__ import annotations

import os
import sys
import time

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
from hepinfo.models.BinaryMI import BinaryMI


def main() -> None:
    samples, outputs, gamma, seed, epochs, batch, rate = sys.argv[1:]
    keras.utils.set_random_seed(int(seed))
    held = np.load(samples)
    model = BinaryMI(
        hidden_layers=[64, 32],
        batch_normalisation_layers=[64, 32],
        quantized_position=[True, True],
        kernel_regularizer=0.0,
        gamma=float(gamma),
        batch_size=int(batch),
        learning_rate=float(rate),
        learning_rate_decay_rate=0.0,
        epoch=int(epochs),
        validation_size=0.0,
        input_shape=(held["x"].shape[1],),
        random_seed=int(seed),
    )
    started = time.monotonic()
    model.fit(x_train=held["x"], y_train=held["y"], s_train=held["s"])
    found = {"seconds": np.array(time.monotonic() - started)}
    model.batch_size = 8192
    for name in held.files:
        if name.startswith("judge/"):
            found[name] = model.predict_proba(held[name])[:, 0]
    np.savez(outputs, **found)


if __name__ == "__main__":
    main()
