"""docs/formats/snapshots.md tells the bytes: its worked example is made anew, and read."""

from __future__ import annotations

import re
from pathlib import Path

from holdfast.state.model import Cause, Consistency, Content, Entry, Kind, Manifest, Root
from holdfast.state.store import config, manifests, names
from holdfast.state.store.ids import Keys, content_name
from holdfast.state.store.pack import TAIL, PackBuilder, decode_frame, encode_frame, read_footer, read_tail
from holdfast.state.store.sealing import HEADER_BYTES

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "formats" / "snapshots.md").read_text().split("## Worked")[1]
BLOCKS = [block.strip() for block in re.findall(r"```\n(.*?)```", TEXT, re.DOTALL)]
KEYS = Keys.derive(bytes(range(32)))
SALT = b"\x11" * 32
BLOBS = (b"hello\n", b"holdfast\n")
IDS = tuple(KEYS.blob_id(blob) for blob in BLOBS)


def hexed(block: str) -> bytes:
    return bytes.fromhex("".join(block.split()))


def example_pack(*, sealed: bool) -> tuple[str, bytes]:
    builder = PackBuilder(KEYS, sealed=sealed, salt=SALT)
    builder.add_frame(*encode_frame(builder.envelope, 0, list(BLOBS)))
    builder.footer.blobs.extend([(IDS[0], 0, 0, 6, 0), (IDS[1], 0, 6, 9, 0)])
    name, stored = builder.close()
    return name, b"".join(stored)


def test_the_keys_and_ids_are_those_of_the_example() -> None:
    for value in (KEYS.ids, KEYS.seal, *IDS):
        assert f"`{value.hex()}`" in TEXT


def test_the_packs_are_those_of_the_example_and_read_back() -> None:
    for block, sealed in zip(BLOCKS, (False, True), strict=False):
        stored = hexed(block)
        assert example_pack(sealed=sealed) == (content_name(stored), stored)
        assert f"`{content_name(stored)}`" in TEXT
        begin = read_tail(stored, len(stored), "example")
        envelope, footer = read_footer(stored, stored[begin : -TAIL.size], KEYS, "example")
        assert [row[0] for row in footer.blobs] == list(IDS)
        (frame,) = footer.frames
        raw = decode_frame(envelope, 0, frame, stored[HEADER_BYTES:begin], "example")
        assert raw == b"".join(BLOBS)


def test_the_manifest_is_that_of_the_example_and_reads_back() -> None:
    mtime = 1_790_000_000_000_000_000
    entry = Entry(b"notes", Kind.FILE, 0o600, 1000, 1000, mtime, 15, Content.CHUNKS, IDS)
    manifest = Manifest(
        format=1,
        repository="00112233445566778899aabbccddeeff",
        agent="assistant",
        seq=1,
        epoch=1,
        at=1_790_000_000.5,
        took_s=0.25,
        parent="",
        cause=Cause.MANUAL,
        label="",
        consistency=Consistency.GUARD,
        roots=(Root(path="/srv/notes", entry=entry),),
        files=1,
        bytes=15,
        bytes_new=0,
    )
    plain = manifests.encode(manifest)
    assert plain.decode() == BLOCKS[2]
    snapshot_id = KEYS.blob_id(plain).hex()
    assert f"`snaps/{names.snapshot_name(manifest.at, 1, 1, snapshot_id)}`" in TEXT
    assert manifests.seal(plain, KEYS, sealed=True, salt=SALT) == hexed(BLOCKS[3])
    read = manifests.open_sealed(hexed(BLOCKS[3]), KEYS, snapshot_id, "example")
    assert manifests.decode(read, "example") == manifest


def test_the_config_is_that_of_the_example_and_gives_the_key() -> None:
    recovery = b"\x22" * 32
    read, key = config.decode(BLOCKS[4].encode(), recovery, "example")
    assert key == bytes(range(32))
    assert config.encode(read, key, recovery, b"\x33" * 12).decode().strip() == BLOCKS[4]
