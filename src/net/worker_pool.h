// Threads that run jobs, at most so many at a time per key (a tenant, say): jobs of one key start in order, keys take
// turns, and a key with much work does not hold threads that others could use.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace rejoin::net {

class WorkerPool {
 public:
  using Job = std::function<void()>;  // must not throw

  // At most `queue` jobs wait, at most `queue_per_key` of one key; at most `at_once_per_key` of one key run.
  WorkerPool(size_t threads, size_t queue, size_t queue_per_key, size_t at_once_per_key = 1);
  // Runs what waits, then joins.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // False: the queue is full, or the pool is stopping. An empty key is a key of its own each time. Thread-safe.
  bool submit(const std::string& key, Job job);
  // Would a job of this key be turned away now?
  bool full(const std::string& key) const;
  size_t waiting() const;
  size_t running() const;
  // How long the job that is next has been able to run but for want of a thread; jobs that wait for others of their own
  // key don't count. Zero when none waits.
  std::chrono::steady_clock::duration longest_wait() const;
  // No new jobs; waits for those that run and wait. Idempotent.
  void stop();

 private:
  struct Lane {
    std::deque<Job> jobs;
    size_t running = 0;
    bool ready = false;  // in ready_
  };
  void make_ready(const std::string& key, Lane& lane);
  void work();

  const size_t queue_;
  const size_t queue_per_key_;
  const size_t at_once_per_key_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::unordered_map<std::string, Lane> lanes_;
  struct Ready {
    std::string key;
    std::chrono::steady_clock::time_point since;
  };
  std::deque<Ready> ready_;  // keys with waiting jobs of which more may run
  size_t waiting_ = 0;
  size_t running_ = 0;
  size_t anonymous_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace rejoin::net
