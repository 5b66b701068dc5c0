"""Tables as strangers write them: made from a seed, with the account that must come out.

Every file has a form of its own (encoding, separator, quotes, escapes, line ends, header or none,
packing) and some rows that cannot be read, are dropped or stand twice. What has to come out is
counted while the rows are made, and shares no code with the reader.
"""

from __future__ import annotations

import gzip
import random
import zipfile
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

NAMES = ("user_id", "item_id", "timestamp", "event", "rating", "title", "price")
ITEM_NAMES = ("item_id", "name", "category", "price")
EVENTS = ("view", "Purchase", "add to cart", "просмотр", "kauf & zurück")
WORDS = (
    "cup",
    "Jug",
    'tin 12"',
    "bowl",
    "l'été",
    "tray, blue",
    "größe",
    "a;b",
    "x|y",
    "NA",
    "None",
)
PLAIN_WORDS = ("cup", "Jug", "bowl", "tray", "tin", "NA", "None")
PACKED = {"": ".csv", "gzip": ".csv.gz", "zip": ".zip"}
EPOCH = 1_600_000_000


@dataclass
class Counts:
    """What has to become of the rows of one file."""

    rows: int = 0
    used: int = 0
    dropped: int = 0
    bad: int = 0


@dataclass(frozen=True)
class Form:
    """How one file is written."""

    encoding: str
    separator: str
    quoting: str  # minimal, all or none
    escape: str  # "" doubles quotes
    end: str
    header: bool
    trailing: bool
    packing: str
    decimal: str


@dataclass(frozen=True)
class GeneratedTable:
    """A table.

    Attributes:
        seed: What it was made from.
        files: Name -> content.
        options: Keys of ``[data]`` without `files`; what a reader can tell by itself is left out.
        log: Names of the files of the log.
        items: Name of the file of items; None without one.
        counts: Name of a file -> what has to become of its rows.
        forms: Name of a file -> how it is written.
    """

    seed: int
    files: dict[str, bytes]
    options: dict[str, Any]
    log: tuple[str, ...]
    items: str | None
    counts: dict[str, Counts]
    forms: dict[str, Form] = field(default_factory=dict)

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the files; the whole of ``[data]`` but for its kind."""
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        options = {**self.options, "files": [str(folder / name) for name in self.log]}
        if self.items is not None:
            own = {**options.get("items", {}), "files": [str(folder / self.items)]}
            options["items"] = own
        return options


def generated_table(seed: int, rows: int = 40, *, clean: bool = False) -> GeneratedTable:
    """A table from a seed.

    Args:
        seed: Two tables of one seed are equal.
        rows: About so many rows in each file of the log.
        clean: Whether every row can be read and has names in a header, as for drafts.
    """
    draw = random.Random(seed)
    timed = draw.choice(("s", "ms", "iso", "day"))
    columns = [0, 1, 2, *sorted(draw.sample(range(3, 7), draw.randint(1, 4)))]
    headless = not clean and draw.random() < 0.25
    encoding = draw.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16", "cp1252"))
    decimal, files, counts, forms = draw.choice(".,"), {}, {}, {}
    options = _options(draw, columns, encoding, headless=headless, clean=clean)
    seen: set[tuple[str, ...]] = set()
    for number in range(draw.randint(1, 3)):
        form = _form(draw, encoding, decimal, header=not headless, clean=clean)
        name = f"log{number}{PACKED[form.packing]}"
        count, lines = Counts(), [form.separator.join(NAMES[c] for c in columns)] * form.header
        for row in range(draw.randint(rows // 2, rows + rows // 2)):
            fields = _row(draw, number * 10_000 + row, timed, form)
            for again in range(1 + (draw.random() < 0.05)):
                whole = clean or bool(again)
                lines.append(_place(draw, fields, columns, form, count, seen, options, clean=whole))
        files[name] = _packed(_joined(lines, form), form, f"log{number}")
        counts[name], forms[name] = count, form
    log, items = tuple(files), None
    if draw.random() < 0.5:
        form = _form(draw, encoding, decimal, header=True, clean=clean)
        items = f"items{PACKED[form.packing]}"
        content, counts[items] = _catalogue(draw, form, clean=clean)
        files[items], forms[items] = _packed(content, form, "items"), form
        options["items"] = {"id": ITEM_NAMES[0], "text": ITEM_NAMES[1], "price": ITEM_NAMES[3]}
    return GeneratedTable(seed, files, options, log, items, counts, forms)


def _options(
    draw: random.Random, columns: list[int], encoding: str, *, headless: bool, clean: bool
) -> dict[str, Any]:
    """What a reader has to be told, with the columns of the log that say something of items."""
    duplicates = draw.choice(("keep", "keep", "drop"))
    options: dict[str, Any] = {"on_bad_rows": "skip", "duplicates": duplicates}
    if 3 in columns and not clean:
        options["drop"] = [{"column": NAMES[3], "equals": EVENTS[0], "why": "only seen"}]
    if 4 in columns and not clean:
        options["signals"] = {"rating": NAMES[4]}
    if headless:
        options["names"] = [NAMES[c] for c in columns]
    if encoding == "cp1252":
        options["encoding"] = encoding
    told = {"text": NAMES[5]} if 5 in columns else {}
    told |= {"price": NAMES[6]} if 6 in columns else {}
    return options | ({"items": told} if told else {})


def _form(draw: random.Random, encoding: str, decimal: str, *, header: bool, clean: bool) -> Form:
    separator = draw.choice((",", ",", ";", "\t", "|", "::", " "))
    if decimal == "," and separator == ",":
        separator = ";"
    quoting = draw.choice(("minimal", "minimal", "all", "none"))
    escape = "\\" if quoting != "none" and draw.random() < 0.25 else ""
    end = draw.choice(("\n", "\n", "\r\n"))
    packing = draw.choice(("", "", "", "gzip", "zip"))
    trailing = not clean and header and separator not in " " and draw.random() < 0.15
    return Form(encoding, separator, quoting, escape, end, header, trailing, packing, decimal)


def _row(draw: random.Random, number: int, timed: str, form: Form) -> list[str]:
    when = EPOCH + number * 1_000 + draw.randint(0, 900)
    times = {"s": str(when), "ms": str(when * 1000), "iso": _iso(when), "day": _iso(when)[:10]}
    return [
        f"u{draw.randint(0, 12)}",
        f"i{draw.randint(0, 15)}",
        times[timed],
        _text(draw, EVENTS, form),
        _number(draw.choice((1, 2, 3, 3.5, 4, 5)), form),
        _text(draw, WORDS, form) + f" {number}",
        _price(draw, form),
    ]


def _iso(seconds: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _text(draw: random.Random, words: tuple[str, ...], form: Form) -> str:
    """A text that the encoding has and that needs no quotes where there are none."""
    word = draw.choice(words)
    if form.encoding == "cp1252":
        word = word.encode("cp1252", "replace").decode("cp1252").replace("?", "q")
    return word.replace('"', " inch") if form.quoting == "none" else word


def _number(value: float, form: Form) -> str:
    return f"{value:g}".replace(".", form.decimal)


def _price(draw: random.Random, form: Form) -> str:
    value = draw.choice((0.5, 12.5, 1001.25, 99.0))
    text = f"{value:,.2f}" if draw.random() < 0.5 else f"{value:.2f}"
    if form.decimal == ",":
        text = text.translate(str.maketrans(".,", ",."))
    sign = draw.choice(("", "", "", "$", "€"))
    return draw.choice((text, text, text, sign + text, "-", "Free", ""))


def _place(
    draw: random.Random,
    fields: list[str],
    columns: list[int],
    form: Form,
    count: Counts,
    seen: set[tuple[str, ...]],
    options: dict[str, Any],
    *,
    clean: bool,
) -> str:
    """One row as it stands in its file, and what must become of it; perhaps with damage."""
    fields, count.rows = list(fields), count.rows + 1
    damage = "" if clean else draw.choice([""] * 20 + ["user", "time", "few", "many", "rating"])
    if damage == "rating" and 4 not in columns:
        damage = ""
    if damage == "user":
        fields[0] = ""
    if damage == "time":
        fields[2] = draw.choice(("", "soon", "-"))
    if damage == "rating":
        fields[4] = draw.choice(("high", "--", "1.2.3"))
    cells = [fields[c] for c in columns]
    dropped = "drop" in options and fields[3] == EVENTS[0]
    if damage == "few":
        cells.pop()
    if damage == "many":
        cells += ["more", "more"]
    if damage in ("few", "many"):
        count.bad += 1
    elif dropped:
        count.dropped += 1
    elif damage:
        count.bad += 1
    else:
        key = tuple(fields[:3]) + ((fields[4],) if "signals" in options else ())
        _used(count, key, seen, options)
    return form.separator.join(_cell(one, form) for one in cells) + form.separator * form.trailing


def _used(
    count: Counts, key: tuple[str, ...], seen: set[tuple[str, ...]], options: dict[str, Any]
) -> None:
    if options["duplicates"] == "drop" and key in seen:
        count.dropped += 1
    else:
        count.used += 1
    seen.add(key)


def _cell(text: str, form: Form) -> str:
    special = form.separator in text or '"' in text
    if form.quoting == "none":
        return text.replace(form.separator, "-")
    if form.quoting == "minimal" and not special:
        return text
    if form.escape:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return '"' + text.replace('"', '""') + '"'


def _catalogue(draw: random.Random, form: Form, *, clean: bool) -> tuple[str, Counts]:
    count, lines = Counts(), [form.separator.join(ITEM_NAMES)]
    for number in range(16):
        fields = [f"i{number}", _text(draw, WORDS, form), _text(draw, PLAIN_WORDS, form),
                  _price(draw, form)]  # fmt: skip
        damage = "" if clean else draw.choice([""] * 15 + ["id", "few"])
        count.rows += 1
        if damage == "id":
            fields[0] = ""
        if damage == "few":
            fields.pop()
        count.bad += bool(damage)
        count.used += not damage
        lines.append(form.separator.join(_cell(f, form) for f in fields))
    if form.trailing:
        lines[1:] = [line + form.separator for line in lines[1:]]
    return _joined(lines, form), count


def _joined(lines: list[str], form: Form) -> str:
    return "".join(line + form.end for line in lines)


def _packed(content: str, form: Form, stem: str) -> bytes:
    raw = content.encode(form.encoding)
    if form.packing == "gzip":
        return gzip.compress(raw, mtime=0)
    if form.packing == "zip":
        stream = BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr(f"{stem}.csv", raw)
        return stream.getvalue()
    return raw
