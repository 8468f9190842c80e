"""Loading .keras files: sound ones, and every way in which a file can be wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hairtrigger.errors import ConversionError, StorageError
from hairtrigger.frontends.keras_file import load_model
from hgq_models import prepare

# Keras 3.15 asks NumPy 2.4 for arrays in a way that NumPy warns about, when it saves.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

keras = prepare()
import hgq.layers as q  # noqa: E402  (after the backend is chosen)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound file with a dense layer and a table layer."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((3,))
    model = keras.Model(inputs, q.QDenseT(2)(q.QDense(3)(inputs)))
    path = tmp_path_factory.mktemp("saved") / "sound.keras"
    model.save(path)
    return path


def rewritten(saved: Path, folder: Path, old: str, new: str, member: str = "config.json") -> Path:
    """A copy of a file with another text in one of its members."""
    path = folder / "changed.keras"
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == member:
                assert old.encode() in data
                data = data.replace(old.encode(), new.encode())
            target.writestr(name, data)
    return path


def outputs(model: Any) -> Any:
    return model.predict_on_batch(np.linspace(-3, 3, 12, dtype=np.float32).reshape(4, 3))


def test_sound_file(saved: Path) -> None:
    assert outputs(load_model(saved)).shape == (4, 2)
    assert outputs(load_model(str(saved))).shape == (4, 2)


def test_layers_stored_under_an_older_name(saved: Path, tmp_path: Path) -> None:
    old = rewritten(saved, tmp_path, '"hgq>QDenseT"', '"hgq2>QDenseT"')
    assert np.array_equal(outputs(load_model(old)), outputs(load_model(saved)))


def test_options_that_no_layer_takes(saved: Path, tmp_path: Path) -> None:
    path = rewritten(saved, tmp_path, '"n_hl":', '"number_of_hidden_layers":')
    with pytest.raises(ConversionError, match=r"(?s)saved with Keras .*number_of_hidden_layers"):
        load_model(path)


def test_layers_that_are_not_installed(saved: Path, tmp_path: Path) -> None:
    path = rewritten(saved, tmp_path, '"hgq>QDenseT"', '"elsewhere>QDenseX"')
    with pytest.raises(ConversionError, match=r"(?s)elsewhere>QDenseX.*Way out: .*save it again"):
        load_model(path)


def test_python_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    inputs = keras.Input((3,))
    path = tmp_path / "lambda.keras"
    keras.Model(inputs, keras.layers.Lambda(lambda x: x * 2)(inputs)).save(path)
    with pytest.raises(ConversionError, match=r"Python code.*Lambda"):
        load_model(path)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"just a text", "not a .keras file"),
        (b"", "not a .keras file"),
        (b"\x89HDF\r\n\x1a\nrest", "HDF5"),
        (b"PK\x03\x04 and no more", "truncated or damaged"),
    ],
)
def test_foreign_files(tmp_path: Path, content: bytes, part: str) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    with pytest.raises(StorageError, match=part):
        load_model(path)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no file"):
        load_model(tmp_path / "nothing.keras")
    with pytest.raises(StorageError, match="folder"):
        load_model(tmp_path)


def test_other_zip_files(tmp_path: Path) -> None:
    path = tmp_path / "other.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(StorageError, match=r"lacks .*config\.json"):
        load_model(path)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_truncated_files(saved: Path, tmp_path: Path, keep: float) -> None:
    data = saved.read_bytes()
    path = tmp_path / "short.keras"
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(StorageError, match="truncated or damaged"):
        load_model(path)


def test_damaged_content(saved: Path, tmp_path: Path) -> None:
    data = bytearray(saved.read_bytes())
    at = data.find(b"QDenseT")
    data[at : at + 7] = b"XXXXXXX"
    path = tmp_path / "flipped.keras"
    path.write_bytes(data)
    with pytest.raises(StorageError, match="checksum"):
        load_model(path)


def test_damaged_weights(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.keras"
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            target.writestr(name, data[:200] if name.endswith(".h5") else data)
    with pytest.raises(StorageError, match="damaged"):
        load_model(path)


def test_import_chooses_jax_on_the_cpu() -> None:
    code = (
        "from hairtrigger.frontends.keras_file import import_keras\n"
        "keras = import_keras()\n"
        "import jax\n"
        "print(keras.backend.backend(), jax.default_backend())"
    )
    free = {k: v for k, v in os.environ.items() if k not in ("KERAS_BACKEND", "JAX_PLATFORMS")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, env=free
    )
    assert done.stdout.split() == ["jax", "cpu"]
    assert done.stderr == ""


def test_import_of_the_frontend_is_light() -> None:
    code = (
        "import sys, hairtrigger.frontends.hgq, hairtrigger.frontends.keras_file\n"
        "print([m for m in ('keras', 'jax', 'hgq', 'onnx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
