// One job at a time per key, in order, and no key keeps the others waiting.
#include "net/worker_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>
#include <string>
#include <vector>

namespace rejoin::net {
namespace {

TEST(WorkerPool, JobsOfAKeyRunInOrderOneAtATime) {
  std::mutex mutex;
  std::unordered_map<std::string, std::vector<int>> order;
  std::atomic<int> inside[4] = {};
  std::atomic<bool> overlapped = false;
  {
    WorkerPool pool(4, 10'000, 10'000);
    for (int i = 0; i < 2000; ++i) {
      const int key = i % 4;
      ASSERT_TRUE(pool.submit("key" + std::to_string(key), [&, key, i] {
        if (++inside[key] != 1) overlapped = true;
        {
          std::lock_guard lock(mutex);
          order["key" + std::to_string(key)].push_back(i);
        }
        --inside[key];
      }));
    }
  }
  EXPECT_FALSE(overlapped);
  for (auto& [key, seen] : order) {
    EXPECT_EQ(seen.size(), 500u);
    EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end())) << key;
  }
}

TEST(WorkerPool, SoManyJobsOfAKeyRunAtOnceAsItMay) {
  std::mutex mutex;
  std::condition_variable changed;
  int inside = 0, most = 0;
  {
    WorkerPool pool(8, 10'000, 10'000, 3);
    for (int i = 0; i < 300; ++i)
      ASSERT_TRUE(pool.submit("key", [&] {
        std::unique_lock lock(mutex);
        most = std::max(most, ++inside);
        changed.notify_all();
        // The first ones wait until as many are there as may be.
        changed.wait(lock, [&] { return most >= 3; });
        --inside;
      }));
  }
  EXPECT_EQ(most, 3);
}

TEST(WorkerPool, AStuckKeyHoldsOneThreadOnly) {
  WorkerPool pool(2, 100, 100);
  std::promise<void> open;
  std::shared_future<void> gate = open.get_future().share();
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(pool.submit("stuck", [gate] { gate.wait(); }));
  std::promise<void> other;
  ASSERT_TRUE(pool.submit("other", [&] { other.set_value(); }));
  other.get_future().wait();  // would hang if the stuck key's jobs took both threads
  open.set_value();
}

TEST(WorkerPool, QueuesAreBounded) {
  WorkerPool pool(1, 4, 2);
  std::promise<void> open, started;
  ASSERT_TRUE(pool.submit("a", [&] {
    started.set_value();
    open.get_future().wait();
  }));
  started.get_future().wait();
  EXPECT_TRUE(pool.submit("a", [] {}));
  EXPECT_TRUE(pool.submit("a", [] {}));
  EXPECT_FALSE(pool.submit("a", [] {}));  // this key has enough
  EXPECT_TRUE(pool.submit("b", [] {}));
  EXPECT_TRUE(pool.submit("", [] {}));
  EXPECT_FALSE(pool.submit("c", [] {}));  // all have enough
  EXPECT_EQ(pool.waiting(), 4u);
  open.set_value();
  pool.stop();
  EXPECT_FALSE(pool.submit("a", [] {}));
  EXPECT_EQ(pool.waiting(), 0u);
}

TEST(WorkerPool, OnlyWaitingForAThreadIsALongWait) {
  WorkerPool pool(2, 100, 100);
  std::promise<void> open, first, second, next;
  std::shared_future<void> gate = open.get_future().share();
  ASSERT_TRUE(pool.submit("a", [&, gate] { first.set_value(), gate.wait(); }));
  first.get_future().wait();
  ASSERT_TRUE(pool.submit("a", [] {}));
  EXPECT_EQ(pool.longest_wait().count(), 0);  // it waits for its key, not for a thread
  EXPECT_EQ(pool.running(), 1u);
  ASSERT_TRUE(pool.submit("b", [&, gate] { second.set_value(), gate.wait(); }));
  second.get_future().wait();
  ASSERT_TRUE(pool.submit("c", [&] { next.set_value(); }));
  EXPECT_EQ(pool.running(), 2u);
  while (pool.longest_wait().count() == 0) std::this_thread::yield();
  open.set_value();
  next.get_future().wait();
  pool.stop();
  EXPECT_EQ(pool.longest_wait().count(), 0);
  EXPECT_EQ(pool.running(), 0u);
}

TEST(WorkerPool, StopRunsWhatWaits) {
  std::atomic<int> ran = 0;
  {
    WorkerPool pool(3, 1000, 1000);
    for (int i = 0; i < 300; ++i) ASSERT_TRUE(pool.submit("k" + std::to_string(i % 7), [&] { ++ran; }));
  }
  EXPECT_EQ(ran, 300);
}

}  // namespace
}  // namespace rejoin::net
