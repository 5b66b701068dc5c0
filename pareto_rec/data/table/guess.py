"""Roles of columns, guessed from their names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_NAMES = {
    "user": ("user", "customer", "household", "visitor", "member", "account", "profile", "reader",
             "buyer", "client", "person", "viewer", "author", "session", "subscriber", "player",
             "kunde", "nutzer", "utilisateur", "acheteur", "usuario", "cliente", "utente",
             "пользователь", "клиент", "покупатель", "用户", "ユーザー"),
    "item": ("item", "product", "stock", "sku", "article", "movie", "film", "book", "song",
             "track", "video", "news", "asin", "isbn", "offer", "ad", "coupon", "game", "recipe",
             "artist", "artikel", "produkt", "produit", "producto", "articulo", "artículo",
             "prodotto", "товар", "продукт", "фильм", "商品", "物品"),
    "time": ("timestamp", "datetime", "time", "date", "ts", "day", "created", "when", "datum",
             "zeit", "zeitpunkt", "horodatage", "fecha", "data", "дата", "время", "時間", "时间"),
    "event": ("event", "action", "behavior", "behaviour", "activity", "ereignis", "aktion",
              "événement", "evento", "событие", "действие"),
    "price": ("price", "cost", "preis", "prix", "precio", "prezzo", "цена", "价格"),
    "position": ("position", "rank", "slot"),
    "propensity": ("propensity",),
    "text": ("title", "name", "description", "text", "headline", "content", "titel",
             "bezeichnung", "titre", "nom", "titulo", "título", "nombre", "название"),
    "categories": ("categories", "category", "genres", "genre", "department", "tags", "class",
                   "kategorie", "kategorien", "catégorie", "categoria", "categoría", "категория"),
    "signal": ("rating", "click", "clicked", "clicks", "purchase", "purchased", "bought",
               "conversion", "converted", "quantity", "qty", "count", "cnt", "counts", "liked",
               "like", "likes", "label", "y", "score", "stars", "plays", "playcount", "listens",
               "watched", "watchtime", "view", "views", "viewed", "sales", "revenue", "amount",
               "amt", "units", "times", "duration", "dwell", "menge", "anzahl", "bewertung",
               "quantité", "note", "cantidad", "puntuacion", "количество", "оценка", "рейтинг"),
}  # fmt: skip
_IDS = {"id", "no", "nr", "number", "code", "key", "idx", "index", "uid", "num"}


def words(name: str) -> list[str]:
    """Split a column's name into words, in small letters: ``CustomerID`` is customer and id."""
    parted = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    parted = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1 \2", parted)
    return [word.lower() for word in re.split(r"[\W_]+", parted) if word]


def fitting(names: Iterable[str], role: str) -> list[str]:
    """List columns with names that suggest a role, best first."""
    known = _NAMES[role]
    scored = [(_score(words(name), known, ids=role in ("user", "item")), name) for name in names]
    return [name for score, name in sorted(scored, key=lambda pair: pair[0]) if score < _NOT]


_NOT = (9, 0, 0)


def _score(parts: list[str], known: tuple[str, ...], *, ids: bool) -> tuple[int, int, int]:
    """Rate how well words fit: smaller is better."""
    joined = "".join(parts)
    for rank, word in enumerate(known):
        if ids:
            names = {f"{word}{end}" for end in _IDS}
            if joined in names or joined.rstrip("s") in names:
                return 0, rank, 0
            if parts == [word]:
                return 1, rank, 0
            if word in parts and set(parts) & _IDS:
                return 2, rank, len(parts)
        elif word in parts or joined == word:
            return (0 if len(parts) == 1 else 1), rank, len(parts)
        elif any(part.endswith(word) and len(word) > 3 for part in parts):
            return 2, rank, len(parts)
    return _NOT


@dataclass(frozen=True)
class Guess:
    """Columns of a table by role; None where no name suggests it."""

    user: str | None
    item: str | None
    time: str | None
    event: str | None
    price: str | None
    position: str | None
    propensity: str | None
    text: tuple[str, ...]
    categories: str | None
    signals: tuple[str, ...]

    @classmethod
    def of(cls, names: Iterable[str]) -> Guess:
        """Guess from the names of the columns; each is used once."""
        left = list(names)

        def best(role: str) -> str | None:
            candidates = fitting(left, role)
            if candidates:
                left.remove(candidates[0])
            return candidates[0] if candidates else None

        single = {role: best(role) for role in ("user", "item", "time", "event", "price")}
        more = {role: best(role) for role in ("position", "propensity", "categories")}
        text = tuple(fitting(left, "text"))
        signals = tuple(n for n in fitting(left, "signal") if n not in text)
        return cls(**single, **more, text=text, signals=signals)
