// Measures the engine against plain SQLite, case by case (docs/performance.md). scripts/bench runs it and judges;
// alone:
//
//     bench_engine --list
//     bench_engine --case apply_empty --rows 100000 --reps 5            both sides in turns; one JSON object per case
//     bench_engine --case apply_empty --side rejoin --reps 1 --work D   one side; D keeps the prepared files for the
//     next run
//
// For instructions: valgrind --tool=callgrind --instr-atstart=no --collect-atstart=no bench_engine --case … --side …
// --reps 1 --work D
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "bench/support/capture_cases.h"
#include "bench/support/exchange_cases.h"
#include "bench/support/size_cases.h"
#include "bench/support/upkeep_cases.h"

namespace rejoin::bench {
namespace {

struct Options {
  std::vector<std::string> cases;  // none: all
  std::string side = "both";
  int64_t rows = 100'000;
  int reps = 5;
  fs::path work;  // none: a temporary folder, removed at the end
  bool list = false;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    std::string flag = argv[i];
    if (flag == "--list") {
      options.list = true;
      continue;
    }
    if (i + 1 == argc)
      die(flag + " is unknown or lacks its value; flags: --list, --case, --side, --rows, --reps, --work");
    std::string value = argv[++i];
    if (flag == "--case") {
      options.cases.push_back(value);
    } else if (flag == "--side" &&
               (value == "plain" || value == "plain_by_key" || value == "rejoin" || value == "both")) {
      options.side = value;
    } else if (flag == "--rows") {
      options.rows = std::stoll(value);
    } else if (flag == "--reps") {
      options.reps = std::stoi(value);
    } else if (flag == "--work") {
      options.work = value;
    } else {
      die("unknown flag or value: " + flag + " " + value);
    }
  }
  if (options.rows < 100) die("--rows: at least 100");
  return options;
}

struct SideResult {
  std::vector<double> cpu, system, wall;
  std::map<std::string, double> notes;
  int64_t grown = 0;
};

void run(const Side& side, Workspace& space, SideResult& result) {
  Meter meter;
  side(space, meter);
  meter.finish();
  result.cpu.push_back(meter.cpu_seconds());
  result.system.push_back(meter.system_seconds());
  result.wall.push_back(meter.wall_seconds());
  result.grown = std::max(result.grown, meter.grown_bytes());
  result.notes = meter.notes();
}

void print_side(const char* name, const SideResult& result) {
  std::printf(", \"%s\": {\"cpu\": %.6f, \"system\": %.6f, \"wall\": %.6f, \"cpu_runs\": [", name, median(result.cpu),
              median(result.system), median(result.wall));
  for (size_t i = 0; i < result.cpu.size(); ++i) std::printf("%s%.6f", i ? ", " : "", result.cpu[i]);
  std::printf("], \"grown\": %lld", static_cast<long long>(result.grown));
  for (const auto& [note, value] : result.notes) std::printf(", \"%s\": %.0f", note.c_str(), value);
  std::printf("}");
}

void measure(const Case& c, const Options& options, Workspace& space) {
  struct Turn {
    const char* name;
    const Side& side;
    SideResult result;
  };
  std::vector<Turn> turns;
  for (auto [name, side] : {std::pair{"plain", &c.plain}, {"rejoin", &c.rejoin}, {"plain_by_key", &c.plain_by_key}}) {
    if (*side && (options.side == "both" || options.side == name)) turns.push_back({name, *side, {}});
  }
  for (int rep = 0; rep < options.reps; ++rep) {
    for (Turn& turn : turns) run(turn.side, space, turn.result);
  }
  std::printf("{\"case\": \"%s\", \"rows\": %lld, \"reps\": %d", c.name.c_str(), static_cast<long long>(space.rows()),
              options.reps);
  for (const Turn& turn : turns) print_side(turn.name, turn.result);
  std::printf("}\n");
  std::fflush(stdout);
}

int main_(int argc, char** argv) {
  Options options = parse(argc, argv);
  std::vector<Case> cases;
  for (auto group : {capture_cases(), exchange_cases(), upkeep_cases(), size_cases()}) {
    cases.insert(cases.end(), std::make_move_iterator(group.begin()), std::make_move_iterator(group.end()));
  }
  if (options.list) {
    for (const Case& c : cases) std::printf("%s%s\n", c.name.c_str(), c.plain ? "" : " (rejoin only)");
    return 0;
  }
  bool temporary = options.work.empty();
  if (temporary) {
    const char* tmp = std::getenv("TMPDIR");
    std::string pattern = std::string(tmp && *tmp ? tmp : "/tmp") + "/rejoin-bench-XXXXXX";
    if (!mkdtemp(pattern.data())) die("cannot make a folder like " + pattern);
    options.work = pattern;
  }
  Workspace space(options.work, options.rows);
  for (const std::string& name : options.cases) {
    if (std::none_of(cases.begin(), cases.end(), [&](const Case& c) { return c.name == name; }))
      die("no case is called " + name + "; --list names them");
  }
  for (const Case& c : cases) {
    if (options.cases.empty() || std::find(options.cases.begin(), options.cases.end(), c.name) != options.cases.end())
      measure(c, options, space);
  }
  if (temporary) fs::remove_all(options.work);
  return 0;
}

}  // namespace
}  // namespace rejoin::bench

int main(int argc, char** argv) { return rejoin::bench::main_(argc, argv); }
