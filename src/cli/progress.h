// A line on the terminal that says how far a long job is. Shows nothing when stderr is not a terminal, or when the job
// is quick.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

namespace rejoin::cli {

// Draws on stderr from a thread of its own, so that a job that reports rarely still shows life. The line is gone when
// the object is.
class Progress {
 public:
  // `quiet`: show nothing whatever stderr is.
  explicit Progress(std::string what, bool quiet = false);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Thread-safe, cheap. `total` 0: not known.
  void set(uint64_t done, uint64_t total = 0);
  void add(uint64_t more);
  void rename(std::string what);

  // The job is done: the line goes now, before anything else is printed.
  void end();

  // Something that holds up whatever is under way, told again and again while it lasts: in place of the name of the
  // Progress that there is, else once as a line, if stderr is a terminal. `first`: it begins.
  static void held_up(const std::string& why, bool first);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rejoin::cli
