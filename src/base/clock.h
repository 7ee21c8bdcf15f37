// Time comes in through here, so that tests and the simulator can say what time it is.
#pragma once

#include <cstdint>
#include <string>

namespace rejoin {

class Clock {
 public:
  virtual ~Clock() = default;
  // Milliseconds since the Unix epoch, wall clock. May jump.
  virtual int64_t now_ms() = 0;
};

// The machine's wall clock. Safe to share between threads.
Clock& system_clock();

// A clock that says what it is told.
class FakeClock : public Clock {
 public:
  explicit FakeClock(int64_t ms = 1'700'000'000'000) : ms_(ms) {}
  int64_t now_ms() override { return ms_; }
  void set(int64_t ms) { ms_ = ms; }
  void advance(int64_t ms) { ms_ += ms; }

 private:
  int64_t ms_;
};

// ISO 8601 in UTC with milliseconds, "2026-11-21T10:52:03.141Z"; years outside 0..9999 are printed as they are.
std::string iso8601(int64_t ms);

}  // namespace rejoin
