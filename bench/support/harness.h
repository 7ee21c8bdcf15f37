// How a case is measured: set-up apart from the measured section, both sides in turns, medians; and where prepared
// files are kept.
//
// A case has two sides, `plain` (SQLite alone) and `rejoin`. Each run of a side works on fresh copies of prepared
// files. Only what stands between Meter::start and Meter::stop counts: as CPU time of the process (user and system), as
// memory (how far the resident set grows above what it was before), and, under
//     valgrind --tool=callgrind --instr-atstart=no --collect-atstart=no
// as instructions.
#pragma once

#include <malloc.h>
#include <sys/resource.h>
#include <time.h>
#include <valgrind/callgrind.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "bench/support/database.h"

namespace rejoin::bench {

class Meter {
 public:
  // May be started and stopped several times; the sections add up.
  void start() {
    if (resident_ < 0) watch_memory();
    if (!instrumented_) {
      CALLGRIND_START_INSTRUMENTATION;
      instrumented_ = true;
    }
    wall_from_ = now(CLOCK_MONOTONIC);
    system_from_ = system_now();
    cpu_from_ = now(CLOCK_PROCESS_CPUTIME_ID);
    CALLGRIND_TOGGLE_COLLECT;
  }
  void stop() {
    CALLGRIND_TOGGLE_COLLECT;
    cpu_ += now(CLOCK_PROCESS_CPUTIME_ID) - cpu_from_;
    system_ += system_now() - system_from_;
    wall_ += now(CLOCK_MONOTONIC) - wall_from_;
    grown_ = std::max(grown_, memory("VmHWM:") - resident_);
  }
  // Nothing more is measured: what follows runs at full speed again under valgrind.
  void finish() {
    if (instrumented_) CALLGRIND_STOP_INSTRUMENTATION;
    instrumented_ = false;
  }
  double cpu_seconds() const { return cpu_; }
  double system_seconds() const { return system_; }  // the part of it that the kernel used
  double wall_seconds() const { return wall_; }
  int64_t grown_bytes() const { return grown_; }

  // Results that are no time: bytes of a file, of a changeset.
  void note(const std::string& name, double value) { notes_[name] = value; }
  const std::map<std::string, double>& notes() const { return notes_; }

 private:
  // The kernel forgets the peak so far (proc(5), clear_refs).
  void watch_memory() {
    malloc_trim(0);
    std::ofstream("/proc/self/clear_refs") << "5";
    resident_ = memory("VmRSS:");
  }
  static int64_t memory(std::string_view figure) {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
      if (line.starts_with(figure)) return std::stoll(line.substr(figure.size())) * 1024;
    die("no " + std::string(figure) + " in /proc/self/status");
  }
  static double now(clockid_t clock) {
    timespec t;
    clock_gettime(clock, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
  }
  static double system_now() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<double>(usage.ru_stime.tv_sec) + static_cast<double>(usage.ru_stime.tv_usec) * 1e-6;
  }
  bool instrumented_ = false;
  int64_t resident_ = -1, grown_ = 0;
  double cpu_ = 0, system_ = 0, wall_ = 0, cpu_from_ = 0, system_from_ = 0, wall_from_ = 0;
  std::map<std::string, double> notes_;
};

// The run's folder: files that are made once and used by many cases and repetitions, and the one file that everything
// works on. A folder that is given again (callgrind passes) is used as it is.
//
// A replica knows its file by its inode, so that copies notice that they are copies and take a new identity. That is
// not what is measured here: prepared files are made in the working file, and put back into it, in place.
class Workspace {
 public:
  Workspace(fs::path dir, int64_t rows) : dir_(std::move(dir)), rows_(rows) { fs::create_directories(dir_); }
  int64_t rows() const { return rows_; }
  // How many single transactions or changed rows a case does where one per row would only take longer.
  int64_t some() const { return std::max<int64_t>(rows_ / 5, 1); }

  // The working file, with the contents of `from` or empty.
  fs::path scratch(const fs::path& from = {}) {
    fs::path path = dir_ / "scratch.db";
    for (const char* suffix : {"-wal", "-shm"}) {
      if (fs::exists(path.string() + suffix)) die("a connection is still open on " + path.string());
    }
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    if (!from.empty() && !(out << std::ifstream(from, std::ios::binary).rdbuf())) die("cannot copy " + from.string());
    return path;
  }
  // The file of this name with what `build` left in the working file. `build` runs on first use.
  fs::path prepared(const std::string& name, const std::function<void()>& build) {
    fs::path path = dir_ / (name + "-" + std::to_string(rows_) + ".db");
    if (fs::exists(path)) return path;
    build();
    fs::path draft = path.string() + ".draft";
    fs::copy_file(dir_ / "scratch.db", draft, fs::copy_options::overwrite_existing);
    fs::rename(draft, path);
    return path;
  }
  // A prepared list of byte strings (changesets).
  std::vector<std::string> prepared_blobs(const std::string& name,
                                          const std::function<std::vector<std::string>()>& build) {
    fs::path path = dir_ / (name + "-" + std::to_string(rows_) + ".blobs");
    if (!fs::exists(path)) {
      std::string all;
      for (const std::string& blob : build()) all += std::to_string(blob.size()) + "\n" + blob;
      std::ofstream(path.string() + ".draft", std::ios::binary) << all;
      fs::rename(path.string() + ".draft", path);
    }
    std::ifstream in(path, std::ios::binary);
    std::stringstream buffer;
    buffer << in.rdbuf();
    std::string all = buffer.str();
    std::vector<std::string> out;
    for (size_t at = 0; at < all.size();) {
      size_t end = all.find('\n', at), size = std::stoull(all.substr(at, end - at));
      out.push_back(all.substr(end + 1, size));
      at = end + 1 + size;
    }
    return out;
  }

 private:
  fs::path dir_;
  int64_t rows_;
};

using Side = std::function<void(Workspace&, Meter&)>;

struct Case {
  std::string name;
  Side plain;  // may be empty: the case is an absolute number
  Side rejoin;
  Side plain_by_key = {};  // the plain side once more with its rows sorted by key; shown beside the result
};

inline double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  size_t n = values.size();
  return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

}  // namespace rejoin::bench
