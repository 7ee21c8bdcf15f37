// No more than the rate and the burst, for each by itself, in bounded memory.
#include "server/rate_limit.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace rejoin::server {
namespace {

using std::chrono::milliseconds;
const RateLimiter::Time kBegin{};

TEST(RateLimit, IsReadAsItIsWritten) {
  const auto read = [](std::string_view text) {
    const auto limit = parse_rate_limit(text);
    return limit.ok() ? std::pair(limit->per_second, limit->burst) : std::pair(-1.0, -1.0);
  };
  EXPECT_EQ(read("10/s"), std::pair(10.0, 10.0));
  EXPECT_EQ(read("10/s:50"), std::pair(10.0, 50.0));
  EXPECT_EQ(read("600/m"), std::pair(10.0, 10.0));
  EXPECT_EQ(read("36/h"), std::pair(0.01, 1.0));
  for (const char* text : {"", "10", "/s", "10/", "10/d", "0/s", "-1/s", "1.5/s", "10/s:", "10/s:0", "10/s:x", "10:5/s",
                           " 10/s", "10/s ", "99999999999999999999/s", "10/s:5:5"})
    EXPECT_EQ(read(text).first, -1) << text;
}

TEST(RateLimit, ABurstThenTheRate) {
  RateLimiter limiter({10, 3});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(limiter.take("a", kBegin), 0);
  EXPECT_EQ(limiter.take("a", kBegin), 100);
  EXPECT_EQ(limiter.take("b", kBegin), 0);  // has its own
  EXPECT_EQ(limiter.take("a", kBegin + milliseconds(60)), 40);
  EXPECT_EQ(limiter.take("a", kBegin + milliseconds(100)), 0);
  EXPECT_EQ(limiter.take("a", kBegin + milliseconds(100)), 100);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(limiter.take("a", kBegin + std::chrono::hours(1)), 0);
  EXPECT_GT(limiter.take("a", kBegin + std::chrono::hours(1)), 0);
}

TEST(RateLimit, NoLimitNoMemory) {
  RateLimiter limiter({});
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(limiter.take(std::to_string(i), kBegin), 0);
  EXPECT_EQ(limiter.keys(), 0u);
}

TEST(RateLimit, TheOneThatAskedLongestAgoIsForgotten) {
  RateLimiter limiter({1, 1}, 2);
  EXPECT_EQ(limiter.take("a", kBegin), 0);
  EXPECT_EQ(limiter.take("b", kBegin), 0);
  EXPECT_GT(limiter.take("a", kBegin), 0);
  EXPECT_EQ(limiter.take("c", kBegin), 0);  // in place of b
  EXPECT_EQ(limiter.keys(), 2u);
  EXPECT_GT(limiter.take("a", kBegin), 0);
  EXPECT_EQ(limiter.take("b", kBegin), 0);
  EXPECT_EQ(limiter.keys(), 2u);
}

RC_GTEST_PROP(RateLimit, InAnyWindowNoMoreThanTheRateAndTheBurst, ()) {
  const auto rate = static_cast<double>(*rc::gen::inRange(1, 100));
  const auto burst = static_cast<double>(*rc::gen::inRange(1, 20));
  const auto pauses = *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 50));
  RateLimiter limiter({rate, burst});
  int64_t now = 0;
  std::vector<int64_t> taken;
  for (const int pause : pauses) {
    now += pause;
    const int64_t wait = limiter.take("a", kBegin + milliseconds(now));
    if (wait == 0) taken.push_back(now);
    // Who waits as long as told gets in.
    if (wait != 0) RC_ASSERT(limiter.take("a", kBegin + milliseconds(now + wait)) == 0);
    if (wait != 0) taken.push_back(now += wait);
  }
  for (size_t i = 0; i < taken.size(); ++i)
    for (size_t j = i; j < taken.size(); ++j)
      RC_ASSERT(static_cast<double>(j - i + 1) <=
                burst + rate * static_cast<double>(taken[j] - taken[i]) / 1000 + 1e-6);
}

TEST(RateLimit, ThreadsShareABucket) {
  RateLimiter limiter({1, 100});
  std::vector<std::thread> threads;
  std::vector<int> got(4);
  for (size_t i = 0; i < got.size(); ++i)
    threads.emplace_back([&, i] {
      for (int n = 0; n < 100; ++n) got[i] += limiter.take("a", kBegin) == 0;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(got[0] + got[1] + got[2] + got[3], 100);
}

}  // namespace
}  // namespace rejoin::server
