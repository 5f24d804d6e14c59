import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import DataLoader, default_collate

import treasure
from tests.tokens.toys import folder, jets, metadata, write
from treasure import TokenDataset
from treasure.errors import ConfigError, DataError
from treasure.store import canonical_json, fingerprint, write_json
from treasure.tokens.table import TokenTable

FEATURES = ("jet_pt", "jet_eta", "jet_phi", "jet_msoftdrop")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def test_importing_treasure_does_not_import_torch():
    code = "import treasure, sys; assert 'torch' not in sys.modules; treasure.TokenDataset"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'Dataset'"):
        treasure.Dataset  # noqa: B018


@pytest.mark.parametrize("codebooks", [1, 2])
def test_a_jet_is_its_row(place, codebooks):
    rows = folder(place, [10, 0, 25], codebooks=codebooks).to_pylist()
    dataset = TokenDataset(place, columns=["event", "label", "split", *FEATURES])
    assert len(dataset) == 35
    for number in (0, 9, 10, 34, -1, np.int64(20), torch.tensor(21)):
        found, row = dataset[number], rows[int(number)]
        expected = torch.tensor(row["tokens"], dtype=torch.int64)
        assert found["tokens"].tolist() == expected.tolist()
        assert found["tokens"].dtype == found["label"].dtype == torch.int64
        assert found["event"] == row["event"]
        assert found["label"] == row["label"]
        assert found["split"] == {"train": 0, "val": 1, "test": 2, "unknown": -1}[row["split"]]
        assert all(found[name].item() == row[name] for name in FEATURES)
    assert [jet["event"].item() for jet in dataset] == list(range(35))


@pytest.mark.parametrize("codebooks", [1, 2])
def test_many_jets_are_a_padded_batch(place, codebooks):
    rows = folder(place, [10, 25], codebooks=codebooks).to_pylist()
    dataset = TokenDataset(place, columns=["event"])
    for chosen in ([30, 2, 2, -1, 11], slice(5, 15, 3), np.arange(35) % 2 == 0, range(3), [0], []):
        batch = dataset[chosen]
        numbers = np.arange(35)[list(chosen) if isinstance(chosen, range) else chosen].tolist()
        assert batch["event"].tolist() == numbers
        assert batch["mask"].sum(1).tolist() == [rows[n]["n_constituents"] for n in numbers]
        for tokens, mask, number in zip(batch["tokens"], batch["mask"], numbers, strict=True):
            assert tokens[mask].flatten().tolist() == np.ravel(rows[number]["tokens"]).tolist()
            assert (tokens[~mask] == 8192).all()


def test_jets_that_are_not_there(place):
    folder(place, [5])
    dataset = TokenDataset(place)
    for wrong in (5, -6, [0, 7], np.array([2**40])):
        with pytest.raises(IndexError, match="no jet"):
            dataset[wrong]
    with pytest.raises(TypeError, match="'a' is no number"):
        dataset["a"]
    for wrong in ([1.5], np.array([[1, 2]]), ["a"]):
        with pytest.raises(TypeError, match="expected numbers of jets"):
            dataset[wrong]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_takes_many_jets_at_once(place, workers):
    rows = folder(place, [40]).to_pylist()
    dataset = TokenDataset(place, columns=["event"])
    loader = DataLoader(
        dataset, batch_size=16, shuffle=True, collate_fn=dataset.collate, num_workers=workers
    )
    seen = []
    for batch in loader:
        for tokens, mask, event in zip(*batch.values(), strict=True):
            assert tokens[mask].tolist() == rows[event]["tokens"]
            seen.append(event.item())
    assert sorted(seen) == list(range(40))


def test_any_collate_function_will_do(place):
    rows = folder(place, [40]).to_pylist()
    dataset = TokenDataset(place, pad_to=12, specials=["bos"], columns=["event"])
    by_default = list(DataLoader(dataset, batch_size=16))
    assert [batch["tokens"].shape for batch in by_default] == [(16, 12), (16, 12), (8, 12)]
    jet = by_default[1]["tokens"][3]
    assert jet[by_default[1]["mask"][3]].tolist() == [8193, *rows[19]["tokens"]]
    mine = next(iter(DataLoader(dataset, batch_size=4, collate_fn=list)))
    assert [jet["event"].item() for jet in mine] == [0, 1, 2, 3]
    assert default_collate(mine)["event"].tolist() == [0, 1, 2, 3]
    with pytest.raises(TypeError, match="this very dataset"):
        dataset.collate(mine)


def test_a_single_jet_has_its_special_tokens(place):
    rows = folder(place, [3]).to_pylist()
    dataset = TokenDataset(place, specials=["bos", "eos"])
    assert dataset[1]["tokens"].tolist() == [8193, *rows[1]["tokens"], 8194]
    assert dataset.vocabulary_size == 8195
    assert TokenDataset(place).vocabulary_size == 8193
    assert TokenDataset(place, specials={"pad": -100}).vocabulary_size == 8192


def test_only_the_rows_that_are_wanted(place):
    rows = folder(place, [50, 41]).to_pylist()
    write(place / "top.parquet", jets(8, 500), metadata(dataset="ttbar"))

    def events(**wanted: object) -> list[int]:
        dataset = TokenDataset(place, columns="event", **wanted)
        found = [n for batch in dataset.iterate(7) for n in batch["event"].tolist()]
        assert len(found) == len(dataset)
        assert found == [jet["event"].item() for jet in dataset]
        return found

    assert events(datasets="qcd") == [row["event"] for row in rows]
    assert events(datasets=["ttbar"]) == list(range(500, 508))
    assert events(split="val", datasets="qcd") == [r["event"] for r in rows if r["split"] == "val"]
    assert events(split="unknown", labels=[0, -1], datasets="qcd") == [
        row["event"] for row in rows if row["split"] == "unknown" and row["label"] in (0, -1)
    ]
    assert events(labels=1) == events(labels=[1]) == events(labels=np.int64(1))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"split": "training"}, "split 'training'; expected train"),
        ({"columns": ["pt"]}, "no column 'pt'; there are run"),
        ({"columns": ["tokens"]}, "no column 'tokens'"),
        ({"memory": -1}, "memory -1"),
        ({"pad_to": 0}, "pad_to 0"),
        ({"specials": ["start"]}, "special token 'start'"),
    ],
)
def test_options_that_cannot_be(place, wanted, message):
    folder(place, [3])
    with pytest.raises(ConfigError, match=message):
        TokenDataset(place, **wanted)


def test_row_groups_are_read_when_they_are_needed(place, monkeypatch):
    folder(place, [70, 70], row_group=10)
    read: list[int] = []
    original = TokenTable.row_group

    def noted(self: TokenTable, number: int, *arguments: object, **more: object) -> pa.Table:
        read.append(number)
        return original(self, number, *arguments, **more)

    monkeypatch.setattr(TokenTable, "row_group", noted)
    dataset = TokenDataset(place, memory=0)
    assert read == []
    dataset[73], dataset[74]
    assert read == [0]  # of the second file; the one in use is kept
    dataset[[15, 75, 12, 79]]
    assert read == [0, 1, 0]
    read.clear()
    for _ in TokenDataset(place).iterate(4, shuffle=True, shuffle_jets=20):
        pass
    assert sorted(read) == sorted([*range(7), *range(7)])  # each once, where memory suffices


def test_memory_is_bounded(place):
    folder(place, [200], row_group=10)
    dataset = TokenDataset(place, memory=3_000)
    groups = dataset.row_groups
    for _ in dataset.iterate(5, shuffle=True, shuffle_jets=20):
        assert sum(rows.bytes for rows in groups._kept.values()) <= 3_000
    assert len(groups._kept) < 20


def test_a_flipped_bit_is_found_and_named_with_its_rows(place):
    file = write(place / "a_tokenized.parquet", jets(60, longest=40), row_group=20)
    described = pq.ParquetFile(file).metadata.row_group(1).column(11)
    data = bytearray(file.read_bytes())
    data[described.dictionary_page_offset + described.total_compressed_size - 3] ^= 4
    file.write_bytes(data)
    dataset = TokenDataset(file)
    assert len(dataset[:20]["label"]) == 20
    with pytest.raises(DataError, match=r"a_tokenized\.parquet, rows 20 to 39: damaged"):
        dataset[25]
    for shuffle in (False, True):
        with pytest.raises(DataError, match="rows 20 to 39: damaged"):
            list(TokenDataset(file).iterate(8, shuffle=shuffle))
    loader = DataLoader(TokenDataset(file).iterate(8), batch_size=None, num_workers=1)
    with pytest.raises(DataError, match="rows 20 to 39: damaged"):
        list(loader)


def test_a_flipped_bit_in_the_labels_is_found_when_rows_are_chosen(place):
    file = write(place / "a_tokenized.parquet", jets(60), row_group=20)
    described = pq.ParquetFile(file).metadata.row_group(2).column(4)
    data = bytearray(file.read_bytes())
    data[described.data_page_offset + described.total_compressed_size - 2] ^= 4
    file.write_bytes(data)
    with pytest.raises(DataError, match="rows 40 to 59: damaged"):
        TokenDataset(file, labels=1)


def rewritten(file: Path, change: object, rows: pa.Table | None = None) -> Path:
    """The file, with other metadata (with a checksum that fits) or rows."""
    table = pq.read_table(file) if rows is None else rows
    stored = dict(pq.read_schema(file).metadata)
    counts = pq.ParquetFile(file).metadata.metadata[b"treasure_counts"]
    if callable(change):
        import json

        content = json.loads(stored[b"treasure_tokens"])
        content.pop("checksum")
        change(content)
        text = canonical_json({**content, "checksum": fingerprint(content)})
        stored[b"treasure_tokens"] = text.encode()
    stored[b"treasure_counts"] = counts
    pq.write_table(table.replace_schema_metadata(stored), file, write_page_checksum=True)
    return file


def test_a_token_out_of_range_is_refused(place):
    file = write(place / "a.parquet", jets(20, size=50), metadata(size=50))
    rewritten(file, lambda content: content["vocabulary"].update(size=10))
    with pytest.raises(DataError, match=r"rows 0 to 19: ids from 0 to 49, but the vocabulary has"):
        TokenDataset(file)[0]


@pytest.mark.parametrize("size", [50, 65_536, 65_537, 200_000])
def test_vocabularies_of_any_size(place, size):
    rows = jets(200, size=size)
    write(place / "a.parquet", rows, metadata(size=size))
    found = [jet["tokens"].tolist() for jet in TokenDataset(place)]
    assert found == rows["tokens"].to_pylist()
    largest = max(max(jet, default=0) for jet in found)
    file = rewritten(
        place / "a.parquet", lambda content: content["vocabulary"].update(size=largest)
    )
    with pytest.raises(DataError, match=f"to {largest}, but the vocabulary has 0 to"):
        TokenDataset(file)[0]


def test_a_missing_token_is_refused(place):
    file = write(place / "a.parquet", jets(20))
    table = pq.read_table(file)
    with_null = [[None, *row[1:]] for row in table["tokens"].to_pylist()]
    field = table.schema.field("tokens")
    table = table.set_column(11, field, pa.array(with_null, field.type))
    rewritten(file, None, table)
    with pytest.raises(DataError, match=r"rows 0 to 19: .*tokens are missing"):
        TokenDataset(file)[0]


def test_a_file_of_a_newer_version_says_so(place):
    folder(place, [3])
    file = rewritten(
        place / "part00_tokenized.parquet", lambda content: content.update(format_version=9)
    )
    with pytest.raises(DataError, match=r"format version 9, this code reads up to .* newer treas"):
        TokenDataset(place)
    assert file.exists()


@pytest.mark.parametrize("vocabulary", [{"size": 0, "codebooks": 1}, {"codebooks": 1}, {}, [], 7])
def test_a_vocabulary_that_is_none_is_refused(place, vocabulary):
    folder(place, [3])
    file = place / "part00_tokenized.parquet"
    rewritten(file, lambda content: content.update(vocabulary=vocabulary))
    with pytest.raises(DataError, match="metadata 'treasure_tokens' is damaged"):
        TokenDataset(place)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            metadata(size=16),
            r"b\.parquet: a vocabulary of 16 ids and 1 codebooks, but .*a\.parquet",
        ),
        (metadata(tokenizer="e" * 64), "b.parquet: tokens of tokenizer eeeeeeeeee, but"),
    ],
)
def test_files_that_do_not_fit_together_are_refused(place, other, message):
    write(place / "a.parquet", jets(3))
    write(place / "b.parquet", jets(3, size=16), other)
    with pytest.raises(DataError, match=message):
        TokenDataset(place)


def test_tokens_must_be_those_that_were_asked_for(place):
    folder(place, [3])
    assert len(TokenDataset(place, tokenizer="f" * 64, vocabulary=8192)) == 3
    with pytest.raises(DataError, match="of tokenizer ffffffffff, but abcabcabca was asked for"):
        TokenDataset(place, tokenizer="abc" * 9)
    with pytest.raises(DataError, match="a vocabulary of 8192 ids, but 512 were asked for"):
        TokenDataset(place, vocabulary=512)
    with pytest.raises(DataError, match="no dataset 'wjets'; there are qcd"):
        TokenDataset(place, datasets="wjets")


def test_a_file_that_changes_is_noticed(place):
    file = write(place / "a.parquet", jets(30), row_group=10)
    dataset = TokenDataset(file)
    write(file, jets(30, 100), row_group=15)
    with pytest.raises(DataError, match="changed since it was opened"):
        dataset[0]


def test_where_the_files_are(place):
    folder(place, [4, 5])
    first, second = (place / f"part{n:02d}_tokenized.parquet" for n in range(2))
    (place / ".hidden.parquet").write_bytes(b"not yet whole")
    assert len(TokenDataset(str(place))) == 9
    assert len(TokenDataset(first)) == 4
    assert len(TokenDataset([second, str(first)])) == 9
    assert len(TokenDataset(f"{place}/*_tokenized.parquet")) == 9
    assert len(TokenDataset(f"{place.parent}/**/part01*")) == 5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.parquet", "none.parquet: no such file"),
        ("*.none", "no file matches"),
        ("empty", "no token files"),
        ("text.parquet", "text.parquet: not a whole parquet file"),
        ("other.parquet", "other.parquet: parquet, but no token table"),
    ],
)
def test_what_is_no_token_file_is_named(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.parquet").write_text("text")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match=message):
        TokenDataset(tmp_path / name)


def test_a_file_that_is_there_twice_is_refused(place):
    folder(place, [4])
    with pytest.raises(DataError, match="there twice"):
        TokenDataset([place, place / "part00_tokenized.parquet"])
    with pytest.raises(DataError, match="expected at least one"):
        TokenDataset([])
    with pytest.raises(ConfigError, match="expected a path, a URL, or a list"):
        TokenDataset([3])


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """What a release says of its token files."""
    files: dict[str, dict[str, object]] = {"README.md": {"size": 3, "sha256": "0"}}
    for number, (dataset, split) in enumerate(
        [("qcd", "train"), ("qcd", "test"), ("ttbar", "train")]
    ):
        rows = jets(8, 100 * number)
        rows = rows.set_column(5, "split", pa.array([split] * 8))
        name = f"tokens/{dataset}/{split}/a_tokenized.parquet"
        path = write(tmp_path / "release" / name, rows, metadata(dataset=dataset))
        files[name] = {"size": path.stat().st_size, "rows": 8, "dataset": dataset, "split": split}
    write_json(
        tmp_path / "release" / "manifest.json", {"format": "treasure-release", "files": files}
    )
    return tmp_path / "release"


def test_a_release_is_what_its_manifest_lists(release):
    write(release / "tokens" / "qcd" / "train" / "stray.parquet", jets(5))
    assert len(TokenDataset(release)) == 24
    assert len(TokenDataset(release, split="train")) == 16
    dataset = TokenDataset(release, split="train", datasets="ttbar", columns="event")
    assert dataset[:]["event"].tolist() == list(range(200, 208))
    with pytest.raises(DataError, match="no dataset 'wjets'; there are qcd, ttbar"):
        TokenDataset(release, datasets="wjets")
    with pytest.raises(DataError, match="no rows of split 'val'; there are test, train"):
        TokenDataset(release, split="val")


def test_a_release_that_is_not_whole_is_refused(release):
    file = release / "tokens" / "qcd" / "test" / "a_tokenized.parquet"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match="bytes, but the manifest of its release says"):
        TokenDataset(release)
    file.unlink()
    with pytest.raises(DataError, match="missing, but the manifest of its release lists it"):
        TokenDataset(release)
    assert len(TokenDataset(release, split="train")) == 16
    write_json(
        release / "manifest.json", {"format": "treasure-release", "files": {"../a": {"rows": 1}}}
    )
    with pytest.raises(DataError, match="not a path inside the release"):
        TokenDataset(release)


def test_a_tokenizer_is_named_by_itself_its_folder_or_the_digits_that_messages_show(
    place, tmp_path
):
    from tests.tokenizer.test_artefact import TOKENIZER

    TOKENIZER.save(tmp_path / "its folder")
    file = write(place / "a.parquet", jets(3), metadata(tokenizer=TOKENIZER.fingerprint))
    for named in (
        TOKENIZER, tmp_path / "its folder", str(tmp_path / "its folder"),
        TOKENIZER.fingerprint, TOKENIZER.fingerprint[:10],
    ):  # fmt: skip
        assert len(TokenDataset(file, tokenizer=named)) == 3
    with pytest.raises(DataError, match="but eeeeeeeeee was asked for"):
        TokenDataset(file, tokenizer="e" * 10)
    for odd in (TOKENIZER.fingerprint[:9], tmp_path, 7, "x" * 64):
        with pytest.raises(ConfigError, match="its folder, or ten digits"):
            TokenDataset(file, tokenizer=odd)


def test_labels_that_no_jet_has_are_no_empty_dataset(place):
    folder(place, [10])
    with pytest.raises(DataError, match="no rows of label 7"):
        TokenDataset(place, labels=[7])
    with pytest.raises(ConfigError, match="label 'top'; expected whole numbers"):
        TokenDataset(place, labels=["top"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"specials": {"bos": -5}}, "bos of id -5"),
        ({"specials": {"pad": 10**12}}, "pad of id 1000000000000"),
    ],
)
def test_special_ids_far_from_the_vocabulary_are_refused(place, options, message):
    folder(place, [3])
    with pytest.raises(ConfigError, match=message):
        TokenDataset(place, **options)


@pytest.mark.parametrize(
    "options", [{"shuffle": "no"}, {"bucket": 1}, {"drop_last": None}, {"batch_size": True}]
)
def test_options_of_another_type_are_refused(place, options):
    folder(place, [3])
    with pytest.raises(ConfigError, match=next(iter(options))):
        TokenDataset(place).iterate(**{"batch_size": 2, **options})


def test_what_is_no_number_of_a_jet_is_refused(place):
    folder(place, [3])
    dataset = TokenDataset(place)
    with pytest.raises(TypeError, match="no number of a jet"):
        dataset[1.5]
    with pytest.raises(IndexError, match=r"a mask of shape \(2,\); there are 3 jets"):
        dataset[[True, False]]
    with pytest.raises(ConfigError, match="expected a path"):
        TokenDataset("")
    for batches in (-1, 3):
        with pytest.raises(ConfigError, match="batches"):
            dataset.iterate(2).state_dict(batches=batches)
