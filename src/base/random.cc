#include "base/random.h"

#include <sys/random.h>

#include <cerrno>
#include <cstdlib>

namespace rejoin {
namespace {

class SystemRandom final : public Random {
 public:
  void fill(std::span<char> out) override {
    size_t done = 0;
    while (done < out.size()) {
      ssize_t n = getrandom(out.data() + done, out.size() - done, 0);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) std::abort();  // an identity minted without entropy would corrupt every replica it meets
      done += static_cast<size_t>(n);
    }
  }
};

}  // namespace

Random& system_random() {
  static SystemRandom random;
  return random;
}

void SeededRandom::fill(std::span<char> out) {
  for (size_t i = 0; i < out.size();) {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    z ^= z >> 31;
    for (int b = 0; b < 8 && i < out.size(); ++b, ++i) out[i] = static_cast<char>(z >> (8 * b));
  }
}

}  // namespace rejoin
