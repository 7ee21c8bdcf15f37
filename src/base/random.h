// Randomness comes in through here, so that tests and the simulator can replay it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/bytes.h"

namespace rejoin {

class Random {
 public:
  virtual ~Random() = default;
  virtual void fill(std::span<char> out) = 0;
  Bytes bytes(size_t n) {
    Bytes out(n, '\0');
    fill(out);
    return out;
  }
  uint64_t u64() {
    Bytes b = bytes(8);
    return load_be64(b.data());
  }
};

// The operating system's generator (getrandom). Safe to share between threads.
Random& system_random();

// SplitMix64 (Steele, Lea, Flood 2014): replayable, for tests only.
class SeededRandom : public Random {
 public:
  explicit SeededRandom(uint64_t seed) : state_(seed) {}
  void fill(std::span<char> out) override;

 private:
  uint64_t state_;
};

}  // namespace rejoin
