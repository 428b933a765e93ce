from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from population.blocks.block import TensorBlock
from population.encoding.cbor import encode
from population.errors import FormatError, InputError
from population.graphs.graph import OpGraph
from population.inputs.cells import MISSING, as_days, as_numbers, as_text, as_truths, cells_of, day_text
from population.inputs.columns import BooleanColumn, CategoryColumn, DateColumn, NumberColumn
from population.inputs.decoder import Answer, Decoder
from tests.population.operations.test_table_columns import table_graph
from tests.population.strategies import random_stack

GOLDEN = Path(__file__).parents[1] / "goldens" / "table_block.json"
DECODER = Decoder(
    (
        NumberColumn("age", offset=1.0, gaps=("old",)),
        CategoryColumn("city", ("Bern", "Oslo")),
        DateColumn("when", "dmy", ("days", "week"), 10.0),
        CategoryColumn("size", ("m", "s"), unknown=3),
    ),
    (Answer("logits", "species", "classes", ("cat", "dog", "fox")),),
)


def cells(*values):
    return cells_of(list(values))


@pytest.mark.parametrize(
    ("text", "number"),
    [("1", 1), (" -2.5 ", -2.5), ("+3e2", 300), (".5", 0.5), ("7.", 7), ("1_000", None), ("0x1", None), ("inf", None),
     ("1e999", None), ("1,5", None), ("", math.nan), ("NA", math.nan), ("--", None)],
)  # fmt: skip
def test_text_is_a_number_only_in_the_usual_writing(text, number):
    values, bad = as_numbers(cells(text), MISSING)
    assert bad[0] == (number is None)
    assert values[0] == number or (math.isnan(values[0]) and (number is None or math.isnan(number)))


@given(st.lists(st.text("0123456789+-.eE _n", max_size=6), max_size=6))
def test_a_cell_is_read_alike_whatever_stands_beside_it(texts):
    each = [as_numbers(cells_of([text]), MISSING) for text in texts]
    values, bad = as_numbers(cells_of([*texts, "1", "none"]), MISSING)
    np.testing.assert_array_equal(values[: len(texts)], [float(found[0][0]) for found in each])
    assert bad[: len(texts)].tolist() == [bool(found[1][0]) for found in each]


def test_a_decimal_comma_is_read_where_it_is_said():
    assert as_numbers(cells("1,5", "2"), MISSING, ",")[0].tolist() == [1.5, 2.0]
    assert as_numbers(cells("1,500.0", "1,2,3"), MISSING, ",")[1].tolist() == [True, True]


@given(st.dates(date(1, 1, 1), date(9999, 12, 31)))
def test_a_date_is_the_same_in_every_order_of_its_parts(day):
    texts = {"ymd": day.strftime("%Y/%m/%d").zfill(10), "dmy": f"{day.day}.{day.month}.{day.year:04}",
             "mdy": f"{day.month}/{day.day}/{day.year:04}"}  # fmt: skip
    wanted = day.toordinal() - date(1970, 1, 1).toordinal()
    for order, text in texts.items():
        assert as_days(cells(text), MISSING, order)[0].tolist() == [wanted]
    ticks = np.array([day], dtype="datetime64[us]")
    assert as_days(ticks, MISSING)[0].tolist() == [wanted]


def test_times_and_offsets_count_and_what_is_no_day_is_refused():
    days, bad = as_days(
        cells("1970-01-02T12:00", "1970-01-02 01:00:00.0+01:00", "1970-02-30", "1970-13-01", "x"), MISSING
    )
    assert days[:2].tolist() == [1.5, 1.0]
    assert bad.tolist() == [False, False, True, True, True]
    assert day_text(1.5) == "1970-01-02 12:00"


def test_truths_and_texts_are_the_same_from_any_file():
    assert as_truths(cells(True, "No", None, "T", "1"), MISSING)[0].tolist()[:2] == [1.0, 0.0]
    assert as_truths(cells("maybe"), MISSING)[1].tolist() == [True]
    assert as_text(cells(3, 2.5, None), MISSING).tolist() == ["3", "2.5", None]
    assert as_text(cells(" 3 ", "NA"), MISSING).tolist() == ["3", None]
    assert as_text(np.array([np.nan, 4.0]), MISSING).tolist() == [None, "4"]
    assert cells(2**60, 1).tolist() == [str(2**60), "1"]


def test_a_list_or_an_object_is_no_cell():
    with pytest.raises(InputError, match=r"column 'a'.*expected text"):
        cells_of([[1]], "a")


def rows(**columns):
    return {name: cells_of(values) for name, values in columns.items()}


ROWS = rows(
    age=["3", "old", None], city=["Oslo", "Rome", None], when=["12.1.1970", "", "5.1.1970 06:00"],
    size=["s", "xl", ""], other=["1", "2", "3"],
)  # fmt: skip


def test_rows_become_numbers_and_codes():
    found = DECODER.decode(ROWS)
    np.testing.assert_array_equal(found["numbers"], np.float32([[2, 1], [np.nan, np.nan], [np.nan, -5.75]]))
    assert found["categories"].tolist() == [[2, 1, 2], [0, 0, 3], [0, 1, 0]]
    assert DECODER.channels == {"numbers": ("float32", 2), "categories": ("int64", 3)}
    assert DECODER.code_sizes("categories") == [2, 7, 3]


@given(st.permutations(range(3)))
def test_a_row_is_read_alike_whatever_stands_beside_it(order):
    whole = DECODER.decode(ROWS)
    found = DECODER.decode({name: values[list(order)] for name, values in ROWS.items()})
    for channel, values in whole.items():
        np.testing.assert_array_equal(found[channel], values[list(order)])


def test_the_waves_of_a_date_are_sine_and_cosine():
    column = DateColumn("d", parts=("year", "clock"))
    numbers, codes = column.read(cells("1970-01-01 06:00", None), MISSING)
    assert codes.shape == (2, 0)
    assert numbers[0, 2:] == pytest.approx([1.0, 0.0], abs=1e-9)
    assert np.isnan(numbers[1]).all()
    assert column.num_numbers == 4


def test_far_and_large_numbers_keep_what_float32_would_lose():
    column = NumberColumn("t", offset=1.7e9)
    values = column.read(cells_of([1.7e9 + 1, 1.7e9 + 2]), MISSING)[0].astype(np.float32)
    assert values[:, 0].tolist() == [1.0, 2.0]
    assert NumberColumn("t", unit=1e40).read(cells_of([2e40]), MISSING)[0].tolist() == [[2.0]]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"age": ["3", "x", ""]}, "column 'age', row 2.*expected a number.*'x'"),
        ({"age": ["3", "1e39", ""]}, "float32"),
        ({"when": ["1970-01-12", "", ""]}, "column 'when', row 1.*date"),
        ({"city": ["a"]}, "one length"),
    ],
)
def test_a_cell_that_cannot_be_read_is_named(changed, says):
    with pytest.raises(InputError, match=says):
        DECODER.decode(ROWS | rows(**changed))


def test_a_column_that_lacks_is_named():
    with pytest.raises(InputError, match="'age', 'size' missing"):
        DECODER.decode({name: ROWS[name] for name in ("city", "when")})


def test_outputs_become_names_with_how_sure_they_are_or_numbers():
    words = DECODER.words({"logits": np.array([[0.0, 2.0, 0.0], [0.0, 0.0, 9.0]])})
    assert words["species"]["answer"] == ["dog", "fox"]
    assert words["species"]["confidence"][0] == pytest.approx(math.exp(2) / (2 + math.exp(2)))
    number = Answer("prediction", "price", "number")
    assert number.words(np.array([[1.5], [2.0]], dtype=np.float32)) == {"answer": [1.5, 2.0]}


def test_a_decoder_is_read_back_from_its_bytes():
    found = Decoder.from_bytes(DECODER.encoded)
    assert found == DECODER
    assert found.encoded == DECODER.encoded


HOSTILE = {
    "other format": lambda v: v.update(format="x"),
    "later version": lambda v: v.update(version=2),
    "extra key": lambda v: v.update(more=1),
    "no columns": lambda v: v.update(columns=[]),
    "columns junk": lambda v: v.update(columns=7),
    "column twice": lambda v: v["columns"].append(v["columns"][0]),
    "kind": lambda v: v["columns"][0].update(kind="code"),
    "kind no text": lambda v: v["columns"][0].update(kind=[]),
    "unknown key": lambda v: v["columns"][0].update(size=1),
    "no name": lambda v: v["columns"][0].pop("name"),
    "name no text": lambda v: v["columns"][0].update(name=1),
    "long name": lambda v: v["columns"][0].update(name="x" * 1001),
    "offset no float": lambda v: v["columns"][0].update(offset=1),
    "unit": lambda v: v["columns"][0].update(unit=0.0),
    "decimal": lambda v: v["columns"][0].update(decimal="x"),
    "default written": lambda v: v["columns"][0].update(unit=1.0),
    "values twice": lambda v: v["columns"][1].update(values=["a", "a"]),
    "values junk": lambda v: v["columns"][1].update(values=[1]),
    "unknown too far": lambda v: v["columns"][3].update(unknown=7),
    "channel": lambda v: v["columns"][1].update(channel="numbers"),
    "order": lambda v: v["columns"][2].update(order="ydm"),
    "parts": lambda v: v["columns"][2].update(parts=["week", "days"]),
    "no parts": lambda v: v["columns"][2].update(parts=[]),
    "missing unsorted": lambda v: v["missing"].reverse(),
    "answer kind": lambda v: v["answers"][0].update(kind="number"),
    "answer junk": lambda v: v.update(answers=[1]),
    "no classes": lambda v: v["answers"][0].pop("classes"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_stranger_s_decoder_is_refused_with_one_kind_of_error(name):
    value = json.loads(json.dumps(DECODER.to_value()))
    HOSTILE[name](value)
    with pytest.raises(FormatError):
        Decoder.from_bytes(encode(value))


def test_a_decoder_of_more_than_a_mebibyte_is_refused():
    with pytest.raises(InputError, match="more than 1,048,576 bytes"):
        Decoder((CategoryColumn("x", tuple(f"{n:0900}" for n in range(1200))),))


# ---- blocks with a decoder -------------------------------------------------------------------------------------------

SMALL = Decoder(
    (
        NumberColumn("age"),
        BooleanColumn("wild"),
        CategoryColumn("city", ("Bern", "Oslo")),
        CategoryColumn("size", ("m", "s"), unknown=3),
    ),
    (Answer("logits", "species", "classes", ("cat", "dog", "fox")),),
)


def table_block(decoder=SMALL):
    stack = random_stack(table_graph(), 1)
    exact = {name: (torch.arange(t.numel()).reshape(t.shape) % 17 - 8) / 8.0 for name, t in stack.tensors.items()}
    return TensorBlock.from_stack(stack.replace(tensors=exact), 0, decoder=decoder)


def test_the_bytes_of_a_block_with_a_decoder_are_pinned(regen_goldens):
    """Version 2 of the manifest has been written like this since it came; another one is a format change."""
    block = table_block()
    value, leaves = block.manifest()
    found = {"id": block.id, "manifest": encode(value).hex(), "decoder": SMALL.encoded.hex(), "leaves": sorted(leaves)}
    if regen_goldens:
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    assert found == json.loads(GOLDEN.read_text())


def test_a_block_with_a_decoder_is_read_back_and_one_without_is_what_it_was():
    block = table_block()
    value, leaves = block.manifest()
    again = TensorBlock.from_manifest(value, leaves.__getitem__)
    assert again == block
    assert again.decoder == SMALL
    plain = table_block(None).manifest()[0]
    assert plain["version"] == 1
    assert "decoder" not in plain
    assert set(value) - set(plain) == {"decoder"}


LINKS = {
    "size": lambda v: v["decoder"].update(bytes=v["decoder"]["bytes"] + 1),
    "monstrous": lambda v: v["decoder"].update(bytes=2**40),
    "size true": lambda v: v["decoder"].update(bytes=True),
    "no link": lambda v: v["decoder"].pop("link"),
    "nothing": lambda v: v.update(decoder=None),
    "earlier version": lambda v: v.update(version=1),
    "another leaf": lambda v: v["decoder"].update(link=v["tensors"]["head.bias"]["leaves"][0]["link"]),
}


@pytest.mark.parametrize("name", LINKS)
def test_a_stranger_s_link_to_a_decoder_is_refused(name):
    value, leaves = table_block().manifest()
    LINKS[name](value)
    with pytest.raises(FormatError):
        TensorBlock.from_manifest(value, leaves.__getitem__)


def test_a_decoder_that_does_not_fit_the_graph_is_refused():
    with pytest.raises(InputError, match="its graph reads 'categories'"):
        table_block(DECODER)
    with pytest.raises(InputError, match="explains 2 numbers of 'logits'"):
        table_block(replace(SMALL, answers=(Answer("logits", "y", "classes", ("a", "b")),)))
    assert OpGraph.from_value(table_graph().to_value()) == table_graph()
