"""The engine against plain SQLite, case by case: CPU time from repeated runs in turns, instructions from callgrind."""
import json
import os
import re
import shutil
import subprocess
import tempfile

from common import BUILD, ROOT, build, die, heading, number, report, say

PROGRAM = os.path.join(BUILD, "bench", "bench_engine")
SIDES = ("plain", "rejoin", "plain_by_key")


def run(*arguments, prefix=()):
    done = subprocess.run([*prefix, PROGRAM, *map(str, arguments)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    if done.returncode:
        die(f"bench_engine {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def instructions(case, side, rows, work):
    """Instructions of the measured section, or None. The prepared files are made beforehand, at full speed."""
    arguments = ["--case", case, "--side", side, "--rows", rows, "--reps", 1, "--work", work]
    if side not in run(*arguments):
        return None
    out = os.path.join(work, "callgrind.out")
    run(*arguments, prefix=["valgrind", "--tool=callgrind", "--instr-atstart=no", "--collect-atstart=no",
                            f"--callgrind-out-file={out}"])
    with open(out) as lines:
        total = re.search(r"^totals: (\d+)", lines.read(), re.M)
    os.remove(out)
    return int(total.group(1)) if total else None


def measure(options):
    goals = json.load(open(os.path.join(ROOT, "bench", "goals.json")))["cases"]
    wanted = list(dict.fromkeys(goal["case"] for goal in goals))
    if options.only:
        unknown = set(options.only) - set(wanted)
        if unknown:
            die(f"no such case: {', '.join(sorted(unknown))}; cases: {', '.join(wanted)}")
        wanted = options.only
    if not options.no_callgrind and not shutil.which("valgrind"):
        die("valgrind is missing. Run scripts/setup, or apt-get install valgrind, or give --no-callgrind")
    work = tempfile.mkdtemp(prefix="rejoin-bench-")
    results = {}
    try:
        for case in wanted:
            say(f"bench: {case}")
            times = next(goal.get("times", 1) for goal in goals if goal["case"] == case)
            results[case] = run("--case", case, "--rows", options.rows * times, "--reps", options.reps, "--work", work)
        kinds = {goal["case"]: goal["kind"] for goal in goals if "times" not in goal}
        for case in wanted:
            if options.no_callgrind or kinds.get(case) not in ("ratio", "ms", "us_per_row"):
                continue
            say(f"bench: {case}, callgrind")
            for side in SIDES:
                count = instructions(case, side, options.callgrind_rows, work)
                if count is not None:
                    results[case][side]["instructions"] = count
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return goals, results


def ratio(result, figure, over="plain", side="rejoin"):
    a, b = (result.get(s, {}).get(figure) for s in (side, over))
    return a / b if a is not None and b else None


def judge(values, goal):
    """The worst of the values decides."""
    values = [v for v in values if v is not None]
    if goal["must"] is None or not values:
        return ""
    slack = 1 + goal.get("tolerance", 0)
    worst = max(values)
    if goal["aim"] is not None and worst <= goal["aim"] * slack:
        return "aim"
    return "must" if worst <= goal["must"] * slack else "MISS"


def evaluate(goals, results, callgrind_rows, rows):
    """One row of figures per goal."""
    table = []
    for goal in goals:
        result = results.get(goal["case"])
        if result is None:
            continue
        row = {**goal, "plain_ms": None, "rejoin_ms": None, "value": None, "instructions": None, "by_key": None,
               "rejoin_instructions_per_row": None, "plain_instructions_per_row": None}
        rejoin, plain = result.get("rejoin", {}), result.get("plain", {})
        kind = goal["kind"]
        if kind == "ratio":
            row["plain_ms"], row["rejoin_ms"] = plain["cpu"] * 1000, rejoin["cpu"] * 1000
            row["value"], row["instructions"] = ratio(result, "cpu"), ratio(result, "instructions")
            if "plain_by_key" in result:
                row["by_key"] = {"cpu": ratio(result, "cpu", "plain_by_key"),
                                 "instructions": ratio(result, "instructions", "plain_by_key")}
            units = {"some": callgrind_rows / 5}.get(goal.get("rows"), goal.get("rows") or callgrind_rows)
            for side in ("rejoin", "plain"):
                count = result.get(side, {}).get("instructions")
                row[f"{side}_instructions_per_row"] = count / units if count else None
            judged = [row["value"], row["instructions"]]
        elif kind == "ms":
            row["value"] = row["rejoin_ms"] = rejoin["cpu"] * 1000 / rejoin["rounds"]
            if "instructions" in rejoin:
                row["rejoin_instructions_per_row"] = rejoin["instructions"] / rejoin["rounds"] / 100
            judged = [row["value"]]
        elif kind == "us_per_row":
            row["rejoin_ms"] = rejoin["cpu"] * 1000
            row["value"] = rejoin["cpu"] * 1e6 / result["rows"]
            if "instructions" in rejoin:
                row["rejoin_instructions_per_row"] = rejoin["instructions"] / callgrind_rows
            judged = [row["value"]]
        elif kind == "note_ratio":
            (figure, side), (over, over_side) = goal["figure"], goal["over"]
            row["value"] = result[side][figure] / result[over_side][over]
            judged = [row["value"]]
        elif kind == "kilobytes":
            figure, side = goal["figure"]
            row["value"] = result[side][figure] / 1000
            judged = [row["value"]]
        else:
            die(f"bench/goals.json: unknown kind {kind}")
        if kind in ("ratio", "ms", "us_per_row"):
            row["memory"] = [side.get("grown") for side in (plain, rejoin)]
        row["verdict"] = judge(judged, goal)
        table.append(row)
    return table


HEADER = ["case", "plain ms", "rejoin ms", "CPU", "instr.", "best peer", "must", "aim", "verdict", "instr./row", "by key", "plain MiB", "rejoin MiB"]


def cells(row):
    by_key = "-"
    if row["by_key"]:
        by_key = " ".join(number(v) for v in row["by_key"].values() if v is not None)
    return [row["what"], number(row["plain_ms"]), number(row["rejoin_ms"]), number(row["value"]), number(row["instructions"]),
            *("-" if row[bound] is None else f"{row[bound]:g}" for bound in ("peer", "must", "aim")), row["verdict"] or "-",
            number(row["rejoin_instructions_per_row"]), by_key,
            *("-" if grown is None else f"{grown / 2**20:.1f}" for grown in row.get("memory", (None, None)))]


def summary(table):
    verdicts = [row["verdict"] for row in table if row["verdict"]]
    return (f"{verdicts.count('aim')} at the aim, {verdicts.count('must')} within the must, "
            f"{verdicts.count('MISS')} missed, of {len(verdicts)}")


def main(options, command):
    build("bench_engine")
    goals, results = measure(options)
    table = evaluate(goals, results, options.callgrind_rows, options.rows)
    head = heading(command)
    data = {**head, "rows": options.rows, "reps": options.reps,
            "callgrind_rows": None if options.no_callgrind else options.callgrind_rows,
            "summary": summary(table), "table": table, "runs": results}
    text_rows = [cells(row) for row in table]
    notes = (f"{options.rows:,} rows, medians of {options.reps} runs in turns; instructions with "
             f"{'no callgrind pass' if options.no_callgrind else format(options.callgrind_rows, ',') + ' rows'}. "
             "CPU, instr.: rejoin / plain SQLite. by key: the same two against plain rows sorted by key. "
             "MiB: how far the process grew meanwhile.")
    report(options, "engine", "Engine against plain SQLite", data, notes, HEADER, text_rows, keep=not options.only, more=summary(table))
