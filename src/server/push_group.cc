#include "server/push_group.h"

#include <algorithm>
#include <exception>

namespace rejoin::server {
namespace {

// What is written together is kept in memory and locked together.
constexpr size_t kMostPushes = 16;
constexpr size_t kMostBytes = 8 << 20;
constexpr const char* kStalled = "what is pushed to this tenant cannot be committed at present; try again";

}  // namespace

size_t PushGroup::waiting() const {
  std::lock_guard lock(mutex_);
  return waiting_.size();
}

// The mutex is held.
std::vector<PushGroup::Waiter*> PushGroup::take() {
  std::vector<Waiter*> group;
  size_t bytes = 0;
  while (!waiting_.empty() && group.size() < kMostPushes) {
    Waiter* next = waiting_.front();
    bytes += next->request->frame.size();
    if (!group.empty() && bytes > kMostBytes) break;
    next->taken = true;
    group.push_back(next);
    waiting_.pop_front();
  }
  return group;
}

Result<sync::PushReply> PushGroup::push(const sync::PushRequest& request, Instant deadline, const Write& write) {
  Waiter me{&request, deadline, false, std::nullopt};
  std::unique_lock lock(mutex_);
  if (stalled_ && writing_) return fail(Code::busy, kStalled);
  waiting_.push_back(&me);
  const auto my_turn = [&] { return !writing_ && waiting_.front() == &me; };
  if (!changed_.wait_until(lock, deadline, [&] { return me.taken || my_turn(); })) {
    std::erase(waiting_, &me);
    changed_.notify_all();
    return fail(Code::busy, "the tenant is busy with other requests; try again");
  }
  if (me.taken) {
    changed_.wait(lock, [&] { return me.reply.has_value(); });
    return std::move(*me.reply);
  }
  writing_ = true;
  const bool probing = stalled_;
  const std::vector<Waiter*> group = take();
  lock.unlock();
  std::vector<const sync::PushRequest*> requests;
  Instant latest = deadline;
  for (const Waiter* waiter : group) {
    requests.push_back(waiter->request);
    latest = std::max(latest, waiter->deadline);
  }
  Written written;
  try {
    written = write(requests, latest, probing);
  } catch (const std::exception& e) {
    // The others wait for their replies.
    written.replies.assign(group.size(), fail(Code::internal, e.what()));
  }
  lock.lock();
  for (size_t i = 0; i < group.size(); ++i) group[i]->reply = std::move(written.replies[i]);
  stalled_ = written.stalled;
  if (stalled_) {
    for (Waiter* waiter : waiting_) {
      waiter->taken = true;
      waiter->reply = fail(Code::busy, kStalled);
    }
    waiting_.clear();
  }
  writing_ = false;
  changed_.notify_all();
  return std::move(*me.reply);
}

}  // namespace rejoin::server
