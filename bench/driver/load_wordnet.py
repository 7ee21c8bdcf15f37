#!/usr/bin/python3
"""Loads Debian's WordNet (package wordnet-base) into an ordinary SQLite file: tables synset and sense, with text keys.

    load_wordnet.py OUT.db [--from /usr/share/wordnet] [--limit N]

The files' format is wndb(5WN), the sense keys' senseidx(5WN). Without Debian's wordnet-sense-index the keys are put together from the
data files: lemma%type:file:id:head:head_id. --limit takes the first N synsets of each part of speech (for trying things out).
"""
import argparse
import os
import sqlite3
import sys

SCHEMA = """
CREATE TABLE synset(
  id TEXT PRIMARY KEY,          -- part of speech and offset, "n-02084071"
  pos TEXT NOT NULL,            -- n, v, a, s (satellite adjective), r
  topic INTEGER NOT NULL,       -- lexicographer file
  gloss TEXT NOT NULL
);
CREATE TABLE sense(
  key TEXT PRIMARY KEY,         -- "dog%1:05:00::"
  lemma TEXT NOT NULL,
  synset TEXT NOT NULL REFERENCES synset(id),
  number INTEGER,               -- rank among the lemma's senses
  tag_count INTEGER NOT NULL    -- occurrences in the tagged corpora
);
CREATE INDEX sense_by_synset ON sense(synset);
"""
PARTS = ("noun", "verb", "adj", "adv")
TYPE_NUMBER = {"n": 1, "v": 2, "a": 3, "r": 4, "s": 5}


def bare(word):
    """A word without its syntactic marker: galore(ip) -> galore."""
    return word.split("(")[0] if word.endswith(")") else word


def records(path):
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            if not line.startswith(" "):  # the licence
                yield line


def read_synsets(folder, part, limit):
    for count, line in enumerate(records(os.path.join(folder, "data." + part))):
        if limit and count >= limit:
            return
        head, _, gloss = line.partition("|")
        field = head.split()
        words = int(field[3], 16)
        pointers_at = 4 + 2 * words
        pointers = [field[i:i + 4] for i in range(pointers_at + 1, pointers_at + 1 + 4 * int(field[pointers_at]), 4)]
        yield {
            "offset": field[0], "topic": int(field[1]), "type": field[2], "gloss": gloss.strip(),
            "words": [(bare(field[4 + 2 * i]), int(field[5 + 2 * i], 16)) for i in range(words)],
            # A satellite adjective's similar-to pointer names its head.
            "head": next((p[1] for p in pointers if p[0] == "&"), None) if field[2] == "s" else None,
        }


def read_ranks(folder, part):
    """(lemma, offset) -> rank of the sense."""
    ranks = {}
    for line in records(os.path.join(folder, "index." + part)):
        field = line.split()
        for rank, offset in enumerate(field[6 + int(field[3]):], 1):
            ranks[field[0], offset] = rank
    return ranks


def read_tag_counts(folder):
    with open(os.path.join(folder, "cntlist.rev"), encoding="utf-8") as lines:
        return {key: int(count) for key, _, count in (line.split() for line in lines)}


def load(folder, out, limit=0):
    """Writes the database; returns (synsets, senses)."""
    db = sqlite3.connect(out, isolation_level=None)
    db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; BEGIN;" + SCHEMA)
    tags = read_tag_counts(folder)
    for part in PARTS:
        synsets = list(read_synsets(folder, part, limit))
        ranks = read_ranks(folder, part)
        heads = {s["offset"]: s["words"][0] for s in synsets if s["type"] == "a"}
        letter = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}[part]
        db.executemany("INSERT INTO synset VALUES(?, ?, ?, ?)",
                       ((f"{letter}-{s['offset']}", s["type"], s["topic"], s["gloss"]) for s in synsets))
        for s in synsets:
            if s["head"] and s["head"] not in heads:
                continue  # cut off by --limit
            head, head_id = heads[s["head"]] if s["head"] else ("", None)
            tail = f"{TYPE_NUMBER[s['type']]}:{s['topic']:02d}:%02d:{head.lower()}:{'' if head_id is None else '%02d' % head_id}"
            for word, lex_id in s["words"]:
                lemma = word.lower()
                key = lemma + "%" + tail % lex_id
                # Some synsets have a word twice, in two cases (A, a): one sense.
                db.execute("INSERT OR IGNORE INTO sense VALUES(?, ?, ?, ?, ?)",
                           (key, word.replace("_", " "), f"{letter}-{s['offset']}", ranks.get((lemma, s["offset"])), tags.get(key, 0)))
    db.execute("COMMIT")
    counts = tuple(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("synset", "sense"))
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return counts


def main():
    parser = argparse.ArgumentParser(description="Loads WordNet into an ordinary SQLite file.")
    parser.add_argument("out")
    parser.add_argument("--from", dest="folder", default="/usr/share/wordnet")
    parser.add_argument("--limit", type=int, default=0)
    options = parser.parse_args()
    if not os.path.exists(os.path.join(options.folder, "data.noun")):
        sys.exit(f"{options.folder}: no WordNet there. Run: apt-get install wordnet-base")
    if os.path.exists(options.out):
        sys.exit(f"{options.out} exists already. Name a new file.")
    print("%d synsets, %d senses" % load(options.folder, options.out, options.limit))


if __name__ == "__main__":
    main()
