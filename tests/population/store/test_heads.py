from __future__ import annotations

import base64
import errno
import json
import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from population.encoding.cbor import decode, encode
from population.encoding.cid import cid_of
from population.errors import DamageError, InputError, Locked, NewerHome, NotFound, StorageError, StoreCorrupt
from population.files.local_files import FileSystem, LocalFiles, MemoryFiles
from population.store.heads import Head, HeadMoved, Heads, check_name
from population.store.keys import Keys
from population.store.objects import BlockStore
from tests.population.faulty_files import FaultyCalls, FaultyFiles, num_calls_of, system_calls

NOW = "2030-01-02T03:04:05Z"
HOME = Path("/home")
MANIFESTS = [encode({"block": name}) for name in "ABCD"]
A, B, C, D = (cid_of(data, "dag-cbor") for data in MANIFESTS)
EVIDENCE = {"heldout": {"ultimate": {"accuracy": 0.971}}, "look": 1, "reasons": ["all floors reached"], "alpha": None}


def open_heads(files: FileSystem, home: Path) -> Heads:
    return Heads(files, home, home / "keys")


def new_home(files: FileSystem, home: Path) -> Heads:
    BlockStore(files, home / "store").put_many(MANIFESTS, "dag-cbor")
    return open_heads(files, home)


def advance(heads: Heads, block: str, expected: int, name: str = "digits", **named) -> Head:
    return heads.advance(name, block, EVIDENCE, expected, decided=NOW, **named)


@pytest.fixture
def heads(tmp_path) -> Heads:
    return new_home(LocalFiles(), tmp_path)


def log_of(home: Path, name: str = "digits") -> list[Path]:
    return sorted(path for path in (home / "store" / "reflog" / "production" / name).iterdir() if path.is_file())


# ---- decisions ---------------------------------------------------------------------------------------------------------


def test_a_name_that_nobody_promoted_to_has_no_head(heads, tmp_path):
    assert heads.current("digits") is None
    assert heads.history("digits") == []
    assert heads.names() == heads.stages() == []
    assert not (tmp_path / "keys").exists()


def test_an_advance_becomes_the_head_with_all_it_was_given(heads, tmp_path):
    head = advance(heads, A, 0)
    assert head == Head("production", "digits", A, 1, head.signed_by, NOW, "promote", EVIDENCE)
    assert open_heads(LocalFiles(), tmp_path).current("digits") == head
    assert advance(heads, B, 1).sequence == 2
    assert [each.block for each in heads.history("digits")] == [A, B]
    assert heads.names() == ["digits"]


def test_an_advance_from_another_sequence_than_the_standing_one_is_refused(heads):
    with pytest.raises(HeadMoved, match="stands at sequence 0, not 1"):
        advance(heads, A, 1)
    advance(heads, A, 0)
    advance(heads, B, 1)
    for wrong in (0, 1, 3, -1):
        with pytest.raises(HeadMoved, match=f"stands at sequence 2, not {wrong}"):
            advance(heads, C, wrong)
    assert heads.current("digits").block == B


def test_an_advance_that_is_repeated_is_made_once(heads):
    first = advance(heads, A, 0)
    assert advance(heads, A, 0) == first
    assert heads.history("digits") == [first]


def test_rollbacks_undo_promotions_newest_first_and_erase_nothing(heads):
    for expected, block in enumerate([A, B, C]):
        advance(heads, block, expected)
    assert heads.rollback("digits", decided=NOW).block == B
    back = heads.rollback("digits", decided=NOW, evidence={"why": "worse in use"})
    assert (back.block, back.sequence, back.kind, back.evidence) == (A, 5, "rollback", {"why": "worse in use"})
    with pytest.raises(InputError, match="no other block stood before"):
        heads.rollback("digits", decided=NOW)
    assert [head.block for head in heads.history("digits")] == [A, B, C, B, A]
    advance(heads, D, 5)
    assert heads.rollback("digits", decided=NOW).block == A


def test_a_rollback_goes_back_to_a_distinct_block(heads):
    for expected, block in enumerate([A, B, B]):
        advance(heads, block, expected)
    assert heads.rollback("digits", decided=NOW).block == A


def test_a_rollback_of_an_unknown_head_names_those_there_are(heads):
    advance(heads, A, 0)
    with pytest.raises(NotFound, match=r"'letters'.*digits"):
        heads.rollback("letters", decided=NOW)


def test_a_rollback_from_another_sequence_is_refused(heads):
    for expected, block in enumerate([A, B, C]):
        advance(heads, block, expected)
    with pytest.raises(HeadMoved):
        heads.rollback("digits", decided=NOW, expected_sequence=2)


def test_heads_and_stages_are_independent(heads):
    for name in ("digits", "team/digits", "team/digits/eu/west", "digits.v2"):
        advance(heads, A, 0, name)
    advance(heads, B, 0, stage="staging")
    advance(heads, C, 0, "team")
    assert heads.names() == ["digits", "digits.v2", "team", "team/digits", "team/digits/eu/west"]
    assert heads.names("staging") == ["digits"]
    assert heads.stages() == ["production", "staging"]
    assert (heads.current("digits").block, heads.current("digits", "staging").block) == (A, B)
    assert heads.current("team/digits/eu") is None


def test_a_head_points_only_at_a_block_that_is_in_the_store(heads, tmp_path):
    with pytest.raises(NotFound, match="not in"):
        advance(heads, cid_of(b"elsewhere", "dag-cbor"), 0)
    leaf = BlockStore(LocalFiles(), tmp_path / "store").put_object(b"leaf")
    with pytest.raises(InputError, match="is a leaf"):
        advance(heads, leaf, 0)
    assert heads.names() == []


@pytest.mark.parametrize(
    "evidence", [{"accuracy": float("nan")}, {"x": object()}, {"x": {1: 2}}, {"x": "y" * (1 << 18)}]
)
def test_evidence_that_cannot_be_kept_is_refused_and_nothing_changes(heads, evidence):
    with pytest.raises(InputError):
        heads.advance("digits", A, evidence, 0, decided=NOW)
    assert heads.history("digits") == []


def test_a_second_writer_is_told_who_writes(heads, tmp_path):
    with LocalFiles().lock(tmp_path / "store" / "locks" / "heads"), pytest.raises(Locked, match="process"):
        advance(heads, A, 0)
    assert heads.current("digits") is None
    advance(heads, A, 0)


# ---- names -------------------------------------------------------------------------------------------------------------

BAD_NAMES = ["", "/", "a/", "/a", "a//b", "..", "a/../b", "a..b", ".a", "-a", "A", "ä", "a b", "a\n", "a\0", "a" * 65]
BAD_NAMES += ["a/b/c/d/e", "digits@lite", "../../etc/passwd", "HEAD", "%2e%2e", "a\\b", f"0000000001-{A}"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_an_impossible_name_or_stage_is_refused_and_writes_nothing(heads, tmp_path, name):
    before = sorted(tmp_path.rglob("*"))
    for action in (
        lambda: advance(heads, A, 0, name),
        lambda: heads.current(name),
        lambda: heads.rollback(name, decided=NOW),
        lambda: advance(heads, A, 0, stage=name),
        lambda: heads.names(name),
    ):
        with pytest.raises(InputError, match=r"is not a (name|stage)"):
            action()
    assert [path for path in sorted(tmp_path.rglob("*")) if "locks" not in path.parts] == before


@given(st.text("ab./-_@A0", max_size=12) | st.text(max_size=20))
def test_a_name_is_refused_or_stays_in_its_folder(name):
    try:
        check_name(name)
    except InputError:
        return
    assert re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}(/[a-z0-9][a-z0-9._-]{0,63}){0,3}", name)
    assert ".." not in Path(name).parts
    assert (Path("/root") / name).resolve().is_relative_to("/root")


# ---- signatures --------------------------------------------------------------------------------------------------------


def test_an_entry_is_a_dsse_envelope_that_the_public_key_verifies(heads, tmp_path):
    """Verified here without a line of ours, from the text of DSSE 1.0."""
    head = advance(heads, A, 0)
    envelope = json.loads(log_of(tmp_path)[0].read_bytes())
    trusted = json.loads((tmp_path / "keys" / "trusted.json").read_bytes())
    public = bytes.fromhex(trusted["keys"][head.signed_by])
    assert blake3(public).hexdigest()[:16] == head.signed_by == trusted["signing"] == envelope["signatures"][0]["keyid"]
    payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"]
    signed = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    Ed25519PublicKey.from_public_bytes(public).verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed)
    assert decode(payload)["block"].cid == A


def test_each_entry_holds_the_hash_of_the_one_before(heads, tmp_path):
    for expected, block in enumerate([A, B, C]):
        advance(heads, block, expected)
    entries = log_of(tmp_path)
    previous = [decode(base64.b64decode(json.loads(path.read_bytes())["payload"]))["previous"] for path in entries]
    assert previous == [None, *(blake3(path.read_bytes()).digest() for path in entries[:-1])]
    assert [path.name for path in entries] == [f"000000000{n}-{block}" for n, block in ((1, A), (2, B), (3, C))]


def test_the_private_key_is_made_once_for_its_owner_only(heads, tmp_path):
    advance(heads, A, 0)
    advance(open_heads(LocalFiles(), tmp_path), B, 1)
    [pem] = (tmp_path / "keys").glob("*.pem")
    assert stat.S_IMODE(pem.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert {head.signed_by for head in heads.history("digits")} == {pem.stem}


def test_a_key_that_an_interrupted_first_use_left_is_used(heads, tmp_path):
    advance(heads, A, 0)
    (tmp_path / "keys" / "trusted.json").unlink()
    with pytest.raises(StoreCorrupt, match="not among the trusted"):
        heads.current("digits")
    Keys(LocalFiles(), tmp_path / "keys").seal("type", b"")
    assert heads.current("digits").block == A


def test_a_lost_private_key_is_told(heads, tmp_path):
    advance(heads, A, 0)
    next((tmp_path / "keys").glob("*.pem")).unlink()
    assert heads.current("digits").block == A
    with pytest.raises(StoreCorrupt, match="gone"):
        advance(heads, B, 1)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b'{"version": 1}', b"\xff", b"[" * 9000, b'{"version":1,"signing":"x","keys":[]}']
)
def test_damaged_key_files_are_told(heads, tmp_path, text):
    advance(heads, A, 0)
    [pem] = (tmp_path / "keys").glob("*.pem")
    sound = pem.read_bytes()
    pem.write_bytes(text)
    with pytest.raises(StoreCorrupt, match="pem"):
        advance(heads, B, 1)
    pem.write_bytes(sound)
    (tmp_path / "keys" / "trusted.json").write_bytes(text)
    with pytest.raises(StoreCorrupt, match=r"trusted\.json"):
        heads.current("digits")


def test_another_key_under_a_known_name_is_refused(heads, tmp_path):
    advance(heads, A, 0)
    key_id = heads.current("digits").signed_by
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex()
    text = json.dumps({"version": 1, "signing": key_id, "keys": {key_id: other}})
    (tmp_path / "keys" / "trusted.json").write_text(text)
    with pytest.raises(StoreCorrupt, match="does not have the id"):
        heads.current("digits")


# ---- tampering ---------------------------------------------------------------------------------------------------------


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def sign_anew(home: Path, path: Path, **changes: object) -> None:
    """Replaces an entry by another that is soundly signed by the home's own key."""
    payload = decode(base64.b64decode(json.loads(path.read_bytes())["payload"])) | changes
    kind = "application/vnd.tensor-block-evolution.head+dag-cbor"
    put(path, Keys(LocalFiles(), home / "keys").seal(kind, encode(payload))[0])


def _swap(home: Path, path: Path, other: Path) -> None:
    first, second = path.read_bytes(), other.read_bytes()
    put(path, second)
    put(other, first)


def _sign_with_a_stranger(home: Path, path: Path) -> None:
    payload = base64.b64decode(json.loads(path.read_bytes())["payload"])
    shutil.rmtree(home / "stranger", ignore_errors=True)
    kind = "application/vnd.tensor-block-evolution.head+dag-cbor"
    put(path, Keys(LocalFiles(), home / "stranger").seal(kind, payload)[0])


def _in_json(path: Path, change: Callable[[dict], object]) -> None:
    envelope = json.loads(path.read_bytes())
    change(envelope)
    put(path, json.dumps(envelope, sort_keys=True, separators=(",", ":")).encode() + b"\n")


ATTACKS: dict[str, Callable[[Path, list[Path]], object]] = {
    "newest entry removed": lambda home, log: log[2].unlink(),
    "middle entry removed": lambda home, log: log[1].unlink(),
    "first entry removed": lambda home, log: log[0].unlink(),
    "all entries removed": lambda home, log: [path.unlink() for path in log],
    "entries swapped": lambda home, log: _swap(home, log[0], log[1]),
    "an old entry replayed as the newest": lambda home, log: put(
        log[2].parent / f"0000000004-{A}", log[0].read_bytes()
    ),
    "a second entry of one number": lambda home, log: put(log[2].parent / f"0000000003-{A}", log[2].read_bytes()),
    "an entry of another head": lambda home, log: shutil.copy(
        log_of(home, "other")[0], log[2].parent / log_of(home, "other")[0].name.replace("01-", "04-", 1)
    ),
    "signed by a stranger": lambda home, log: _sign_with_a_stranger(home, log[2]),
    "another name, soundly signed": lambda home, log: sign_anew(home, log[2], name="other"),
    "another stage, soundly signed": lambda home, log: sign_anew(home, log[2], stage="staging"),
    "another evidence, soundly signed": lambda home, log: sign_anew(home, log[1], evidence={"accuracy": 1.0}),
    "another newest evidence, soundly signed": lambda home, log: sign_anew(home, log[2], evidence={"accuracy": 1.0}),
    "another sequence, soundly signed": lambda home, log: sign_anew(home, log[2], sequence=4),
    "another predecessor, soundly signed": lambda home, log: sign_anew(home, log[2], previous=bytes(32)),
    "no predecessor, soundly signed": lambda home, log: sign_anew(home, log[2], previous=None),
    "unknown kind, soundly signed": lambda home, log: sign_anew(home, log[2], kind="delete"),
    "an unknown field, soundly signed": lambda home, log: sign_anew(home, log[2], more=1),
    "sequence as text, soundly signed": lambda home, log: sign_anew(home, log[2], sequence="3"),
    "sequence as truth, soundly signed": lambda home, log: sign_anew(home, log[0], sequence=True),
    "no signature": lambda home, log: _in_json(log[2], lambda value: value.update(signatures=[])),
    "two signatures": lambda home, log: _in_json(
        log[2], lambda value: value["signatures"].append(value["signatures"][0])
    ),
    "an unknown key": lambda home, log: _in_json(log[2], lambda value: value["signatures"][0].update(keyid="0" * 16)),
    "another payload type": lambda home, log: _in_json(log[2], lambda value: value.update(payloadType="text/plain")),
    "an added field": lambda home, log: _in_json(log[2], lambda value: value.update(more=1)),
    "spaces": lambda home, log: put(log[2], log[2].read_bytes().replace(b",", b", ")),
    "a deep bomb": lambda home, log: put(log[2], b"[" * 100_000),
    "a large file": lambda home, log: put(log[2], b"x" * (1 << 20)),
    "an empty file": lambda home, log: put(log[2], b""),
    "a ref ahead of the log": lambda home, log: put(
        home / "store/refs/production/digits/HEAD", json.dumps({"sequence": 4, "entry": "00" * 32}).encode()
    ),
    "a ref with another hash": lambda home, log: put(
        home / "store/refs/production/digits/HEAD", json.dumps({"sequence": 3, "entry": "00" * 32}).encode()
    ),
    "a ref that is no JSON": lambda home, log: put(home / "store/refs/production/digits/HEAD", b"{" * 5000),
    "a ref without fields": lambda home, log: put(home / "store/refs/production/digits/HEAD", b"{}"),
    "a ref of infinity": lambda home, log: put(
        home / "store/refs/production/digits/HEAD", b'{"sequence": 1e999, "entry": ""}'
    ),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_a_log_that_was_tampered_with_is_refused_and_not_written_to(heads, tmp_path, attack):
    for expected, block in enumerate([A, B, C]):
        advance(heads, block, expected)
    advance(heads, D, 0, "other")
    attack(tmp_path, log_of(tmp_path))
    before = {path.name: path.read_bytes() for path in log_of(tmp_path)}
    for action in (
        lambda: heads.current("digits"),
        lambda: advance(heads, D, 3),
        lambda: heads.rollback("digits", decided=NOW),
    ):
        with pytest.raises(StoreCorrupt, match="store/re"):
            action()
    assert {path.name: path.read_bytes() for path in log_of(tmp_path)} == before
    assert heads.names() == ["digits", "other"]
    assert heads.current("other").block == D


def test_every_flipped_bit_of_an_entry_is_seen(heads, tmp_path):
    advance(heads, A, 0)
    [path] = log_of(tmp_path)
    sound = path.read_bytes()
    for position in range(len(sound)):
        put(path, sound[:position] + bytes([sound[position] ^ 1 << position % 8]) + sound[position + 1 :])
        with pytest.raises(StoreCorrupt):
            heads.current("digits")


def test_a_lost_or_old_ref_is_harmless(heads, tmp_path):
    ref = tmp_path / "store/refs/production/digits/HEAD"
    advance(heads, A, 0)
    old = ref.read_bytes()
    advance(heads, B, 1)
    for text in (None, old):
        ref.unlink(missing_ok=True)
        if text:
            ref.write_bytes(text)
        assert heads.current("digits").block == B
    assert advance(heads, C, 2).block == C
    assert json.loads(ref.read_bytes())["sequence"] == 3


def test_files_that_are_no_entries_are_passed_over(heads, tmp_path):
    advance(heads, A, 0)
    put(log_of(tmp_path)[0].parent / "NOTES.txt", b"hello")
    assert heads.current("digits").block == A


def test_an_entry_of_a_newer_version_and_a_newer_store_are_refused(heads, tmp_path):
    advance(heads, A, 0)
    sign_anew(tmp_path, log_of(tmp_path)[0], version=2)
    with pytest.raises(NewerHome, match="version 2"):
        heads.current("digits")
    put(tmp_path / "store" / "FORMAT", b'{"version": 2}')
    with pytest.raises(NewerHome):
        open_heads(LocalFiles(), tmp_path)


# ---- faults ------------------------------------------------------------------------------------------------------------


def first_promotion(home: Heads) -> Head:
    return advance(home, A, 0)


def third_promotion(home: Heads) -> Head:
    return advance(home, C, 2)


def rolling_back(home: Heads) -> Head:
    return home.rollback("digits", decided=NOW)


def home_before(action: Callable, files: FileSystem, home: Path) -> list[str]:
    """Makes a home in which `action` comes next; the blocks decided so far."""
    heads = new_home(files, home)
    blocks = [] if action is first_promotion else [A, B]
    for expected, block in enumerate(blocks):
        advance(heads, block, expected)
    return blocks


ACTIONS = {first_promotion: [A], third_promotion: [A, B, C], rolling_back: [A, B, A]}


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.__name__)
@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("error", [StorageError("disk full"), KeyboardInterrupt()], ids=["full", "interrupt"])
def test_a_failure_of_any_call_leaves_the_old_head_or_the_new_and_may_be_repeated(action, is_after, error):
    home_before(action, files := MemoryFiles(), HOME)
    action(open_heads(probe := FaultyFiles(files), HOME))
    for k in range(probe.num_calls):
        before = home_before(action, files := MemoryFiles(), HOME)
        with pytest.raises(type(error)):
            action(open_heads(FaultyFiles(files, k, is_after=is_after, error=error), HOME))
        heads = open_heads(files, HOME)
        assert [head.block for head in heads.history("digits")] in (before, ACTIONS[action])
        finished = (
            k == probe.num_calls - 1 and is_after
        )  # even the ref is written: a rollback that comes now is another
        if not (finished and action is rolling_back):
            action(heads)
        assert [head.block for head in heads.history("digits")] == ACTIONS[action]
        assert heads.names() == ["digits"]


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.__name__)
@pytest.mark.parametrize("code", [errno.EIO, pytest.param(errno.ENOSPC, marks=pytest.mark.slow)])
def test_a_failure_of_any_system_call_is_typed_and_may_be_repeated(tmp_path, action, code):
    def prepare(home: Path) -> Callable[[], object]:
        home_before(action, LocalFiles(), home)
        return lambda: action(open_heads(LocalFiles(), home))

    num_calls = num_calls_of(lambda: prepare(tmp_path / "count"))
    for k in range(num_calls):
        home = tmp_path / str(k)
        run = prepare(home)
        with system_calls(FaultyCalls(k, code)), pytest.raises(StorageError, match=errno.errorcode[code]):
            run()
        assert not list(home.rglob(".tmp-*"))
        heads = open_heads(LocalFiles(), home)
        blocks = [head.block for head in heads.history("digits")]
        assert blocks in (ACTIONS[action][:-1], ACTIONS[action])
        ref = home / "store/refs/production/digits/HEAD"
        is_finished = ref.exists() and json.loads(ref.read_bytes())["sequence"] == len(ACTIONS[action])
        if not (is_finished and action is rolling_back):
            run()
        assert [head.block for head in heads.history("digits")] == ACTIONS[action]


# ---- against a dict ----------------------------------------------------------------------------------------------------


class HeadsAgainstLists(RuleBasedStateMachine):
    """Promotions, rollbacks, failing disks and reopening, against lists kept by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.files = MemoryFiles()
        self.heads = new_home(self.files, HOME)
        self.log: dict[str, list[str]] = {"a": [], "a/b": []}
        self.undo: dict[str, list[str]] = {"a": [], "a/b": []}

    def note(self, name: str, block: str, is_rollback: bool) -> None:
        self.log[name].append(block)
        if is_rollback:
            self.undo[name].pop()
        elif self.undo[name][-1:] != [block]:
            self.undo[name].append(block)

    @rule(name=st.sampled_from(["a", "a/b"]), block=st.sampled_from([A, B, C]), lag=st.integers(-1, 1))
    def promote(self, name, block, lag):
        expected = len(self.log[name]) + lag
        try:
            head = advance(self.heads, block, expected, name)
        except HeadMoved:
            assert lag != 0
            return
        if lag == 0:
            self.note(name, block, False)
        assert (head.block, head.sequence) == (block, len(self.log[name]))

    @rule(name=st.sampled_from(["a", "a/b"]))
    def roll_back(self, name):
        if len(self.undo[name]) < 2:
            with pytest.raises(InputError):
                self.heads.rollback(name, decided=NOW)
            return
        self.note(name, self.undo[name][-2], True)
        assert self.heads.rollback(name, decided=NOW).block == self.log[name][-1]

    @rule(
        name=st.sampled_from(["a", "a/b"]), block=st.sampled_from([A, B]), k=st.integers(0, 30), is_after=st.booleans()
    )
    def promote_on_a_failing_disk(self, name, block, k, is_after):
        expected = len(self.log[name])
        try:
            advance(open_heads(FaultyFiles(self.files, k, is_after=is_after), HOME), block, expected, name)
        except StorageError:
            advance(self.heads, block, expected, name)
        self.note(name, block, False)

    @rule()
    def reopen(self):
        self.heads = open_heads(self.files, HOME)

    @invariant()
    def the_logs_agree(self):
        for name, blocks in self.log.items():
            assert [head.block for head in self.heads.history(name)] == blocks
        assert self.heads.names() == [name for name, blocks in self.log.items() if blocks]


TestHeadsAgainstLists = HeadsAgainstLists.TestCase
TestHeadsAgainstLists.settings = settings(stateful_step_count=20)  # --scale and the profile say how many


def test_damage_found_ends_with_1_and_a_moved_head_with_2():
    assert issubclass(StoreCorrupt, DamageError)
    assert (StoreCorrupt.exit_code, HeadMoved.exit_code) == (1, 2)
