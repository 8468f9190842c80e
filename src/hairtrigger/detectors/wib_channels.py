"""Which channels of a stream of frames are collection wires, and the channel map of ProtoDUNE.

columns = collection_columns(WIB1, stream.links)       # 48 of each board
table = read_channel_map("protoDUNETPCChannelMap_FELIX_v4.txt")
channels_of_link(table, stream.links[0])["offline"]    # of the 256 channels of a frame
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hairtrigger.detectors.wib import COLLECTION, WIB1, FrameFormat, Link
from hairtrigger.errors import InputError, StorageError

BOARD_CHANNELS = 128
BOARD_COLLECTION = 48
PLANE_COLLECTION = 2

CHANNEL_DTYPE = np.dtype(
    [
        ("crate", "u1"),
        ("slot", "u1"),
        ("board", "u1"),
        ("channel", "u1"),
        ("chip", "u1"),
        ("chip_channel", "u1"),
        ("plane", "u1"),
        ("offline", "<u2"),
    ]
)
"""A channel of the map. ``crate`` counts in the map's own order (`INSTALLED_CRATES`); ``board`` is
one of the four at a slot; ``channel`` is its place among the board's 128 in the frame; ``plane`` 0
and 1 induction, 2 collection; ``offline``: number in the detector, wire by wire."""

INSTALLED_CRATES = (3, 5, 2, 6, 1, 4)
"""The crate in a frame's header for each crate of the map (detchannelmaps)."""

_COLUMNS = 13
_USED = {
    "crate": (0, 5),
    "slot": (1, 4),
    "board": (2, 3),
    "channel": (4, 127),
    "chip": (7, 7),
    "chip_channel": (8, 15),
    "plane": (11, 2),
    "offline": (12, 15359),
}


def read_channel_map(path: str | Path) -> np.ndarray:
    """The channel map of ProtoDUNE-SP (text, 13 columns of whole numbers) as CHANNEL_DTYPE.

    Raises StorageError for a file that is missing or no text, InputError naming the line for
    anything else than such a map, and for a channel that is there twice.
    """
    try:
        text = Path(path).read_text(encoding="ascii")
    except FileNotFoundError as error:
        raise StorageError(f"{path} does not exist", "check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{path} is no text: {error}", "give a channel map") from error
    lines = [line.split() for line in text.splitlines()]
    for number, fields in enumerate(lines, 1):
        if len(fields) != _COLUMNS or not all(field.isdigit() for field in fields):
            raise InputError(
                f"{path}, line {number}, does not hold {_COLUMNS} whole numbers",
                "give a map like protoDUNETPCChannelMap_FELIX_v4.txt",
            )
    if not lines:
        raise InputError(f"{path} is empty", "give a channel map")
    values = np.array(lines, np.int64)
    table = np.zeros(len(values), CHANNEL_DTYPE)
    for name, (column, most) in _USED.items():
        if (values[:, column] > most).any():
            line = int(np.argmax(values[:, column] > most))
            raise InputError(
                f"{path}, line {line + 1}: {name} is {values[line, column]}, above {most}",
                "give a map of ProtoDUNE-SP",
            )
        table[name] = values[:, column]
    for names in (["crate", "slot", "board", "channel"], ["offline"]):
        unique = len(np.unique(table[names]))
        if unique != len(table):
            raise InputError(
                f"{path} has {len(table) - unique} lines whose {', '.join(names)} come twice",
                "give a map with each channel once",
            )
    return table


def channels_of_link(table: np.ndarray, link: Link) -> np.ndarray:
    """The 256 rows of a channel map for a WIB1 link, in the order of the channels of its frames.

    Fibre 1 carries the boards 0 and 1 of its slot, fibre 2 the boards 2 and 3. Raises InputError
    for a link that is not in the map.
    """
    parts = []
    if link.crate in INSTALLED_CRATES and link.stream in (1, 2):
        own = table[
            (table["crate"] == INSTALLED_CRATES.index(link.crate)) & (table["slot"] == link.slot)
        ]
        parts = [own[own["board"] == 2 * (link.stream - 1) + n] for n in range(2)]
    if not parts or any(len(part) != BOARD_CHANNELS for part in parts):
        raise InputError(
            f"the map does not hold both boards of {link}",
            "give the map of the detector that the frames are of",
        )
    return np.concatenate([part[np.argsort(part["channel"])] for part in parts])


def collection_columns(format: FrameFormat, links: Sequence[Link] | int) -> np.ndarray:
    """Columns of a stream's blocks that are collection wires, int64: 48 of each board.

    ``links``: the stream's, or how many. A WIB1 link has two boards, a WIBEth link half a board.
    The order is that of the channels in the frames, not of the wires.
    """
    count = links if isinstance(links, int) else len(links)
    own = np.array(COLLECTION[format.name])
    return (np.arange(count)[:, None] * format.channels + own).reshape(-1)


def with_induction(format: FrameFormat, collection: np.ndarray, induction: int) -> np.ndarray:
    """Samples of whole boards, uint16 (ticks, 128 x boards), of collection wires (ticks, 48 x
    boards): what `encode_wib1` and `encode_wibeth` take. Induction channels stay at ``induction``.

    `collection_columns` finds the wires again, in their order. Raises InputError for other shapes.
    """
    collection = np.asarray(collection)
    per_link = len(COLLECTION[format.name])
    boards = 2 if format is WIB1 else 1
    if collection.ndim != 2 or collection.shape[1] % (BOARD_COLLECTION * boards):
        raise InputError(
            f"samples of shape {collection.shape} are no whole {format.name} boards",
            f"give (ticks, {BOARD_COLLECTION * boards} x n)",
        )
    links = collection.shape[1] // per_link
    samples = np.full((len(collection), links * format.channels), induction, np.uint16)
    samples[:, collection_columns(format, links)] = collection
    return samples
