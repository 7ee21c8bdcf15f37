// Pushes that come while others are written are written together, and each gets its own reply.
#include "server/push_group.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <mutex>
#include <stdexcept>
#include <thread>

namespace rejoin::server {
namespace {

using Requests = std::vector<const sync::PushRequest*>;
constexpr auto kLong = std::chrono::minutes(1);

PushGroup::Written echo(const Requests& requests) {
  PushGroup::Written out;
  for (const sync::PushRequest* r : requests) {
    sync::PushReply reply;
    reply.next_chain_token = r->nonce;
    out.replies.push_back(std::move(reply));
  }
  return out;
}

sync::PushRequest request(const std::string& nonce) {
  sync::PushRequest r;
  r.nonce = Bytes(nonce);
  return r;
}

// Holds the first write until `others` pushes wait behind it.
struct Held {
  PushGroup group;
  std::promise<void> open;
  std::shared_future<void> gate = open.get_future().share();
  std::promise<void> inside;
  std::mutex mutex;
  std::vector<size_t> sizes;
  std::atomic<bool> stalls = false;
  std::thread first;

  Held() {
    first = std::thread([this] {
      const sync::PushRequest mine = request("first");
      const auto reply = group.push(mine, std::chrono::steady_clock::now() + kLong,
                                    [this](const Requests& requests, PushGroup::Instant, bool) {
                                      inside.set_value();
                                      gate.wait();
                                      PushGroup::Written written = echo(requests);
                                      written.stalled = stalls;
                                      return written;
                                    });
      EXPECT_TRUE(reply.ok());
    });
    inside.get_future().wait();
  }
  Result<sync::PushReply> push(const sync::PushRequest& mine, std::chrono::milliseconds within) {
    return group.push(mine, std::chrono::steady_clock::now() + within,
                      [this](const Requests& requests, PushGroup::Instant, bool) {
                        std::lock_guard lock(mutex);
                        sizes.push_back(requests.size());
                        return echo(requests);
                      });
  }
};

TEST(PushGroup, ThoseThatWaitedAreWrittenTogether) {
  Held held;
  std::vector<std::thread> others;
  for (int i = 0; i < 8; ++i)
    others.emplace_back([&, i] {
      const sync::PushRequest mine = request("nonce " + std::to_string(i));
      const auto reply = held.push(mine, kLong);
      ASSERT_TRUE(reply.ok());
      EXPECT_EQ(reply->next_chain_token, mine.nonce);
    });
  while (held.group.waiting() < 8) std::this_thread::yield();
  held.open.set_value();
  held.first.join();
  for (std::thread& t : others) t.join();
  EXPECT_EQ(held.sizes, std::vector<size_t>{8});
}

TEST(PushGroup, WhoWaitsTooLongIsToldSoAndIsNotWritten) {
  Held held;
  const sync::PushRequest mine = request("late");
  const auto reply = held.push(mine, std::chrono::milliseconds(1));
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().code, Code::busy);
  held.open.set_value();
  held.first.join();
  EXPECT_TRUE(held.sizes.empty());
  EXPECT_TRUE(held.push(mine, kLong).ok());
  EXPECT_EQ(held.sizes, std::vector<size_t>{1});
}

TEST(PushGroup, WhenTheWriterFailsNobodyWaitsForever) {
  PushGroup group;
  const sync::PushRequest mine = request("x");
  const auto deadline = std::chrono::steady_clock::now() + kLong;
  const auto reply = group.push(mine, deadline, [](const Requests&, PushGroup::Instant, bool) -> PushGroup::Written {
    throw std::runtime_error("out of everything");
  });
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().code, Code::internal);
  EXPECT_TRUE(group.push(mine, deadline, [](const Requests& r, PushGroup::Instant, bool) { return echo(r); }).ok());
}

TEST(PushGroup, WhileWritingStandsStillOneTriesAndNobodyWaits) {
  Held held;
  std::vector<std::thread> others;
  for (int i = 0; i < 8; ++i)
    others.emplace_back([&] {
      const sync::PushRequest mine = request("waits");
      const auto reply = held.push(mine, kLong);
      ASSERT_FALSE(reply.ok());
      EXPECT_EQ(reply.error().code, Code::busy);
    });
  while (held.group.waiting() < 8) std::this_thread::yield();
  held.stalls = true;
  held.open.set_value();
  held.first.join();
  for (std::thread& t : others) t.join();
  EXPECT_TRUE(held.sizes.empty());
  // The one that tries, and who comes meanwhile.
  const sync::PushRequest mine = request("tries"), other = request("comes");
  const auto deadline = std::chrono::steady_clock::now() + kLong;
  const auto tried = held.group.push(mine, deadline, [&](const Requests& requests, PushGroup::Instant, bool probing) {
    EXPECT_TRUE(probing);
    EXPECT_EQ(requests.size(), 1u);
    const auto met = held.push(other, kLong);
    EXPECT_FALSE(met.ok());
    return echo(requests);
  });
  EXPECT_TRUE(tried.ok());
  // It goes on.
  EXPECT_TRUE(held.group
                  .push(other, deadline,
                        [](const Requests& requests, PushGroup::Instant, bool probing) {
                          EXPECT_FALSE(probing);
                          return echo(requests);
                        })
                  .ok());
}

}  // namespace
}  // namespace rejoin::server
