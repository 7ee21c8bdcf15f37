#include "tests/support/model_run.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "sim/generate.h"
#include "sim/runner.h"
#include "sim/shrink.h"
#include "sqlite/api.h"

namespace rejoin::testing {
namespace {

struct Folder {
  std::string path;
  Folder() {
    struct stat st;
    path = stat("/dev/shm", &st) == 0 && access("/dev/shm", W_OK) == 0
               ? "/dev/shm"
               : std::filesystem::temp_directory_path().string();
    path += "/rejoin-test-" + std::to_string(getpid());
    std::filesystem::create_directories(path);
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

// Nobody here asks SQLite how much memory it has, and no two threads use a connection: a tenth of the time is saved.
void configure_sqlite() {
  static const bool once =
      sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) == SQLITE_OK && sqlite3_config(SQLITE_CONFIG_MULTITHREAD) == SQLITE_OK;
  (void)once;  // refused after SQLite's first use, which does no harm
}

sim::RunOptions options() {
  sim::RunOptions out;
  out.folder = scratch_folder();
  return out;
}

std::string describe(const sim::Script& script, const sim::Failure& failure) {
  std::string at = failure.step < 0 ? "after the last step"
                                    : "at step " + std::to_string(failure.step + 1) + ", " +
                                          print(script.steps[static_cast<size_t>(failure.step)]);
  return "[" + failure.kind + "] " + at + "\n" + failure.message + "\n";
}

}  // namespace

const std::string& scratch_folder() {
  static Folder folder;
  return folder.path;
}

uint64_t environment_number(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text && *text ? std::strtoull(text, nullptr, 10) : otherwise;
}

void run_models(uint64_t first, uint64_t count) {
  configure_sqlite();
  if (const char* seed = std::getenv("REJOIN_MODEL_SEED")) first = std::strtoull(seed, nullptr, 10), count = 1;
  bool keep_going = environment_number("REJOIN_MODEL_KEEP_GOING", 0) != 0;
  const char* about = std::getenv("REJOIN_MODEL_SUBJECT");
  const std::string_view name = about ? about : "";
  const sim::Subject subject = name == "plain"         ? sim::Subject::plain
                               : name == "constraints" ? sim::Subject::constraints
                               : name == "alters"      ? sim::Subject::alters
                               : name == "both"        ? sim::Subject::both
                                                       : sim::Subject::any;
  auto started = std::chrono::steady_clock::now(), said = started;
  uint64_t steps = 0;
  for (uint64_t n = 0; n < count; ++n) {
    sim::Script script = sim::generate(first + n, subject);
    steps += script.steps.size();
    auto failure = sim::run_script(script, options());
    auto now = std::chrono::steady_clock::now();
    if (now - said > std::chrono::seconds(2) || n + 1 == count || failure) {
      said = now;
      std::fprintf(stderr, "\rmodel: %llu of %llu scripts, %llu steps, seed %llu, %.0f s   ",
                   static_cast<unsigned long long>(n + 1), static_cast<unsigned long long>(count),
                   static_cast<unsigned long long>(steps), static_cast<unsigned long long>(first + n),
                   std::chrono::duration<double>(now - started).count());
    }
    if (!failure) continue;
    if (keep_going) {
      ADD_FAILURE() << "seed " << script.seed << " " << describe(script, *failure);
      continue;
    }
    std::fprintf(stderr, "\nseed %llu failed: %sshrinking ...\n", static_cast<unsigned long long>(script.seed),
                 describe(script, *failure).c_str());
    sim::Script small =
        sim::shrink(script, failure->kind, [](const sim::Script& s) { return sim::run_script(s, options()); });
    auto last = sim::run_script(small, options());
    FAIL() << "seed " << script.seed << ", shrunk to " << small.steps.size() << " steps:\n"
           << print(small) << "\n"
           << describe(small, last ? *last : *failure)
           << "\nreplay the whole script:  REJOIN_MODEL_SEED=" << script.seed
           << " build/release/test_bin/convergence_model_test\nkeep the small one:       put its text into "
              "tests/scripts/NAME.txt";
  }
  std::fprintf(stderr, "\n");
}

void run_model_text(const std::string& name, const std::string& text) {
  configure_sqlite();
  auto script = sim::parse_script(text);
  ASSERT_TRUE(script.ok()) << name << ": " << script.error().message;
  auto failure = sim::run_script(*script, options());
  EXPECT_FALSE(failure) << name << "\n" << (failure ? describe(*script, *failure) : "");
}

}  // namespace rejoin::testing
