"""Networks that others trained and published: each converts and agrees, or says why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from hairtrigger.errors import ConversionError
from hairtrigger.fixed import Fixed
from hairtrigger.frontends.hgq import from_hgq
from hairtrigger.frontends.keras_file import load_model
from hgq_models import data_folder, differences

EVENTS = 2048
FOLDER = Path(data_folder()) / "models" / "hgq"

pytestmark = [
    pytest.mark.needs_data,
    pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no published networks in {FOLDER}"),
]

DENSE = (
    "jsc_cernbox_epoch=24246",
    "jsc_cernbox_epoch=64427",
    "models_jsc_cernbox_epoch=148462",
    "models_jsc_cernbox_epoch=168407",
    "models_jsc_cernbox_epoch=25957",
    "models_jsc_cernbox_epoch=62054",
    "models_jsc_cernbox_epoch=91912",
    "rand_mat_models_N=8-bw=4",
    "rand_mat_models_N=8-bw=8",
    "rand_mat_models_N=16-bw=4",
    "rand_mat_models_N=16-bw=8",
    "rand_mat_models_N=32-bw=4",
    "rand_mat_models_N=32-bw=8",
)
LARGE = ("models_tgc_epoch=26460", "models_jsc_plf_32-3_epoch=2618")
TABLES = (
    "models_jsc_hlf_cernbox_epoch=111341",
    "models_jsc_hlf_cernbox_epoch=142482",
    "models_jsc_hlf_cernbox_epoch=151991",
    "models_jsc_hlf_cernbox_epoch=23721",
    "models_jsc_hlf_cernbox_epoch=66071",
)


def published(start: str) -> Path:
    (path,) = FOLDER.glob(f"{start}*.keras")
    return path


def slow_from(names: tuple[str, ...], first: int) -> list[object]:
    """The names, all but the first few marked slow: they take seconds each to load."""
    return [
        n if at < first else pytest.param(n, marks=pytest.mark.slow) for at, n in enumerate(names)
    ]


def test_every_published_network_is_tested() -> None:
    assert len(list(FOLDER.glob("*.keras"))) == len(DENSE + LARGE + TABLES)


@pytest.mark.parametrize("start", [*DENSE, *slow_from(LARGE, 1)])
def test_dense_and_conv_networks_agree(start: str) -> None:
    model = load_model(published(start))
    graph = from_hgq(model)
    assert differences(model, graph, events=EVENTS) == [0]


@pytest.mark.parametrize("start", slow_from(TABLES, 1))
def test_table_networks_need_a_format_and_agree(start: str) -> None:
    """Each small table of the first layer has its own input quantizer."""
    model = load_model(published(start))
    with pytest.raises(
        ConversionError, match=r"q_dense_t \(QDenseT\).*no single format\.\n.*input_format"
    ):
        from_hgq(model)
    graph = from_hgq(model, input_format=Fixed(True, 5, 8))
    assert differences(model, graph, events=EVENTS) == [0]
