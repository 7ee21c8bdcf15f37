#include "net/worker_pool.h"

#include <utility>

namespace rejoin::net {

WorkerPool::WorkerPool(size_t threads, size_t queue, size_t queue_per_key, size_t at_once_per_key)
    : queue_(queue), queue_per_key_(queue_per_key), at_once_per_key_(at_once_per_key ? at_once_per_key : 1) {
  for (size_t i = 0; i < (threads ? threads : 1); ++i) threads_.emplace_back([this] { work(); });
}

WorkerPool::~WorkerPool() { stop(); }

bool WorkerPool::submit(const std::string& key, Job job) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_ || waiting_ >= queue_) return false;
    // A NUL cannot occur in a tenant's name, so these never meet a key.
    const std::string name = key.empty() ? std::string(1, '\0') + std::to_string(anonymous_++) : key;
    Lane& lane = lanes_[name];
    if (lane.jobs.size() >= queue_per_key_) return false;
    lane.jobs.push_back(std::move(job));
    ++waiting_;
    make_ready(name, lane);
  }
  wake_.notify_one();
  return true;
}

// The mutex is held.
void WorkerPool::make_ready(const std::string& key, Lane& lane) {
  if (lane.ready || lane.jobs.empty() || lane.running >= at_once_per_key_) return;
  lane.ready = true;
  ready_.push_back({key, std::chrono::steady_clock::now()});
}

bool WorkerPool::full(const std::string& key) const {
  std::lock_guard lock(mutex_);
  const auto lane = lanes_.find(key);
  return stopping_ || waiting_ >= queue_ || (lane != lanes_.end() && lane->second.jobs.size() >= queue_per_key_);
}

size_t WorkerPool::waiting() const {
  std::lock_guard lock(mutex_);
  return waiting_;
}

size_t WorkerPool::running() const {
  std::lock_guard lock(mutex_);
  return running_;
}

std::chrono::steady_clock::duration WorkerPool::longest_wait() const {
  std::lock_guard lock(mutex_);
  if (ready_.empty()) return {};
  return std::chrono::steady_clock::now() - ready_.front().since;
}

void WorkerPool::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_)
    if (thread.joinable()) thread.join();
}

void WorkerPool::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return !ready_.empty() || (stopping_ && waiting_ == 0); });
    if (ready_.empty()) return;
    const std::string key = std::move(ready_.front().key);
    ready_.pop_front();
    Lane& lane = lanes_[key];  // references into an unordered_map survive other keys' coming and going
    Job job = std::move(lane.jobs.front());
    lane.jobs.pop_front();
    ++lane.running;
    --waiting_;
    ++running_;
    lane.ready = false;
    make_ready(key, lane);
    if (lane.ready) wake_.notify_one();
    lock.unlock();
    job();
    job = nullptr;
    lock.lock();
    --lane.running;
    --running_;
    if (lane.jobs.empty() && lane.running == 0)
      lanes_.erase(key);
    else if (make_ready(key, lane); lane.ready)
      wake_.notify_one();
    if (stopping_) wake_.notify_all();
  }
}

}  // namespace rejoin::net
