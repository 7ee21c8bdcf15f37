"""scripts/bench: builds, measures, prints a table, writes bench/results/<date>-<commit>-<name>.json and .md.

  engine   each case of bench/goals.json against plain SQLite: CPU time and callgrind instructions (the default)
  wordnet  WordNet loaded, tracked and synced through the server into an empty device, against copying the rows
  server   rejoin serve --postgres under load, against the same rows written with plain batched SQL; initial and live too
  initial  the first sync of an empty device with a million rows on PostgreSQL
  live     how soon a commit is at 1, 100 and 1,000 live readers, and the memory of 10,000 idle ones
  all      all of them
  docs     fills the tables of docs/performance.md from the newest results files
"""
import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import docs  # noqa: E402
import engine  # noqa: E402
import initial  # noqa: E402
import live  # noqa: E402
import server  # noqa: E402
import wordnet  # noqa: E402


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="engine",
                        choices=("engine", "wordnet", "server", "initial", "live", "all", "docs"))
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the engine's tables (default 100,000)")
    parser.add_argument("--reps", type=int, default=5, help="runs of each side (default 5)")
    parser.add_argument("--callgrind-rows", type=int, default=20_000,
                        help="rows of the callgrind pass (default 20,000; 100,000 takes a quarter of an hour)")
    parser.add_argument("--no-callgrind", action="store_true", help="CPU time only")
    parser.add_argument("--only", action="append", metavar="CASE", help="this case only, may be repeated; nothing is saved")
    parser.add_argument("--limit", type=int, default=0, help="wordnet: the first N synsets of each kind of word only; nothing is saved")
    parser.add_argument("--seconds", type=float, default=5, help="server: how long each load lasts (default 5)")
    parser.add_argument("--initial-rows", type=int, default=1_000_000, help="initial: rows that the server has (default 1,000,000)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--no-save", action="store_true", help="write no results file")
    options = parser.parse_args()
    command = " ".join(["scripts/bench", *sys.argv[1:]])
    if options.what in ("engine", "all"):
        engine.main(options, command)
    if options.what in ("wordnet", "all"):
        wordnet.main(options, command)
    if options.what in ("server", "all"):
        server.main(options, command)
    if options.what in ("server", "initial", "all"):
        initial.main(options, command)
    if options.what in ("server", "live", "all"):
        live.main(options, command)
    if options.what == "docs":
        docs.main()


if __name__ == "__main__":
    main()
