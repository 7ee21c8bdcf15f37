#include "cli/progress.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <thread>

#include "cli/terminal.h"
#include "cli/units.h"

namespace rejoin::cli {

namespace {

// The one that draws: a command has one at a time.
std::mutex g_shown_mutex;

}  // namespace

struct Progress::Impl {
  static inline Impl* shown = nullptr;  // under g_shown_mutex

  std::atomic<uint64_t> done{0}, total{0};
  std::mutex mutex;
  std::condition_variable wake;
  std::string what, why;
  std::chrono::steady_clock::time_point told;  // of `why`
  bool stop = false;
  bool drawn = false;
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
  std::thread thread;

  // Under the mutex.
  void draw() {
    static constexpr int kBar = 24;
    static constexpr std::chrono::milliseconds kLasts{500};
    const auto now = std::chrono::steady_clock::now();
    const std::string& name = !why.empty() && now - told < kLasts ? why : what;
    double seconds = std::chrono::duration<double>(now - start).count();
    uint64_t n = done, of = total;
    std::string line;
    if (of > 0) {
      int filled = static_cast<int>(std::min<uint64_t>(kBar, n * kBar / of));
      line += " [";
      for (int i = 0; i < kBar; ++i) line += i < filled ? "█" : "░";
      line += "] " + std::to_string(std::min<uint64_t>(100, n * 100 / of)) + " %";
    } else if (n > 0) {
      line += " " + count_text(n) + " rows";
    }
    line += " " + std::to_string(static_cast<int>(seconds)) + " s";
    // Long names give way: what moves is what matters.
    int room = terminal_columns(2) - 1;
    line = shorten(shorten(name, std::max(8, room - display_width(line))) + line, room);
    std::fprintf(stderr, "\r\x1b[2K%s", line.c_str());
    std::fflush(stderr);
    drawn = true;
  }

  void run() {
    using namespace std::chrono_literals;
    std::unique_lock lock(mutex);
    // A job that is done at once should not flicker.
    if (wake.wait_for(lock, 300ms, [this] { return stop; })) return;
    do draw();
    while (!wake.wait_for(lock, 120ms, [this] { return stop; }));
  }
};

Progress::Progress(std::string what, bool quiet) {
  if (quiet || !is_terminal(2)) return;
  impl_ = std::make_unique<Impl>();
  impl_->what = std::move(what);
  {
    std::lock_guard lock(g_shown_mutex);
    Impl::shown = impl_.get();
  }
  impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });
}

Progress::~Progress() { end(); }

void Progress::end() {
  if (!impl_) return;
  {
    std::lock_guard lock(g_shown_mutex);
    if (Impl::shown == impl_.get()) Impl::shown = nullptr;
  }
  {
    std::lock_guard lock(impl_->mutex);
    impl_->stop = true;
  }
  impl_->wake.notify_all();
  impl_->thread.join();
  if (impl_->drawn) std::fputs("\r\x1b[2K", stderr), std::fflush(stderr);
  impl_.reset();
}

void Progress::set(uint64_t done, uint64_t total) {
  if (impl_) impl_->done = done, impl_->total = total;
}

void Progress::add(uint64_t more) {
  if (impl_) impl_->done += more;
}

void Progress::rename(std::string what) {
  if (!impl_) return;
  std::lock_guard lock(impl_->mutex);
  impl_->what = std::move(what);
}

void Progress::held_up(const std::string& why, bool first) {
  std::lock_guard lock(g_shown_mutex);
  if (Impl::shown) {
    std::lock_guard inner(Impl::shown->mutex);
    Impl::shown->why = why;
    Impl::shown->told = std::chrono::steady_clock::now();
  } else if (first && is_terminal(2)) {
    std::fprintf(stderr, "%s\n", why.c_str());
  }
}

}  // namespace rejoin::cli
