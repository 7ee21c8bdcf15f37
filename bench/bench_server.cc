// Load on a server, as many devices at once, and the same rows by plain batched SQL.
//
//     bench_server push  URL SECRET_FILE TENANTS DEVICES ROWS SECONDS   devices push ROWS changed rows a request
//     bench_server pull  URL SECRET_FILE TENANTS DEVICES SECONDS        devices without rows pull everything, again and
//                                                                       again
//     bench_server idle  URL SECRET_FILE TENANTS DEVICES SECONDS        devices that have everything ask for news
//     bench_server sql   POSTGRES CONNECTIONS ROWS SECONDS              INSERT … SELECT unnest … ON CONFLICT DO UPDATE
//     bench_server query POSTGRES CONNECTIONS SQL SECONDS               this query, again and again
//
// A pushed change is half the time a new row, half the time one column of an old one. Prints JSON: requests, rows,
// seconds, milliseconds per request (p50, p99).
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "bench/support/load_device.h"
#include "postgres/connection.h"

namespace rejoin::bench {
namespace {

using Instant = std::chrono::steady_clock::time_point;

double seconds_since(Instant start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct Totals {
  std::mutex mutex;
  uint64_t rows = 0;
  std::vector<double> times;  // milliseconds, one per request
  void add(uint64_t r, double ms) {
    std::lock_guard lock(mutex);
    rows += r;
    times.push_back(ms);
  }
  void print(double seconds) {
    std::sort(times.begin(), times.end());
    auto at = [&](double q) {
      return times.empty() ? 0 : times[static_cast<size_t>(q * static_cast<double>(times.size() - 1))];
    };
    std::printf("{\"requests\": %zu, \"rows\": %llu, \"seconds\": %.3f, \"p50_ms\": %.3f, \"p99_ms\": %.3f}\n",
                times.size(), static_cast<unsigned long long>(rows), seconds, at(0.5), at(0.99));
  }
};

// Runs `work` in threads until the time is up.
template <class Prepare, class Work>
void run(int threads, double seconds, Prepare&& prepare, Work&& work) {
  Totals totals;
  std::atomic<int> ready = 0;
  std::atomic<bool> go = false;
  std::vector<std::thread> all;
  Instant start;
  for (int i = 0; i < threads; ++i)
    all.emplace_back([&, i] {
      auto state = prepare(i);
      ++ready;
      while (!go) std::this_thread::yield();
      while (seconds_since(start) < seconds) {
        const Instant begin = std::chrono::steady_clock::now();
        const uint64_t rows = work(*state);
        totals.add(rows, seconds_since(begin) * 1000);
      }
    });
  while (ready < threads) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  start = std::chrono::steady_clock::now();
  go = true;
  for (std::thread& t : all) t.join();
  totals.print(seconds_since(start));
}

struct Sql {
  std::unique_ptr<postgres::Connection> db;
  SeededRandom random{1};
  std::vector<std::string> keys;
};

std::unique_ptr<Sql> connect(const std::string& url) {
  auto db = postgres::Connection::open(url);
  if (!db.ok()) die(db.error().message);
  auto s = std::make_unique<Sql>();
  s->db = std::move(*db);
  s->random = SeededRandom(system_random().u64());
  return s;
}

uint64_t upsert(Sql& s, size_t rows) {
  postgres::Array ids = postgres::Array::texts(), titles = ids, done = postgres::Array::integers(), priority = done;
  std::vector<std::string> chosen;
  for (size_t i = 0; i < rows; ++i) {
    const bool fresh = s.keys.size() < rows || (s.random.u64() & 1);
    chosen.push_back(fresh ? uuid_text(s.random) : s.keys[s.random.u64() % s.keys.size()]);
    if (fresh && s.keys.size() < 100'000) s.keys.push_back(chosen.back());
  }
  std::sort(chosen.begin(), chosen.end());
  chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
  for (const std::string& id : chosen) {
    ids.add(BytesView(id));
    titles.add(BytesView("title " + std::to_string(s.random.u64() % 1'000'000'000)));
    done.add(int64_t{0}), priority.add(int64_t{5});
  }
  auto rows_done = s.db->query(
      "INSERT INTO todos_plain SELECT 'main', u.id::uuid, u.title, u.done <> 0, u.priority FROM unnest($1::text[], "
      "$2::text[], "
      "$3::bigint[], $4::bigint[]) AS u(id, title, done, priority) ON CONFLICT (org, id) DO UPDATE SET title = "
      "EXCLUDED.title",
      postgres::Params().array(ids).array(titles).array(done).array(priority));
  if (!rows_done.ok()) die(rows_done.error().message);
  return rows;
}

int main_of(int argc, char** argv) {
  const std::vector<std::string> a(argv, argv + argc);
  const std::string what = argc > 1 ? a[1] : "";
  if (what == "sql" && argc == 6) {
    const size_t rows = std::stoul(a[4]);
    run(
        std::stoi(a[3]), std::stod(a[5]), [&](int) { return connect(a[2]); }, [&](Sql& s) { return upsert(s, rows); });
    return 0;
  }
  if (what == "query" && argc == 6) {
    const auto ask = [&](Sql& s) {
      const auto rows = s.db->query(a[4], {});
      if (!rows.ok()) die(rows.error().message);
      return static_cast<uint64_t>(rows->size());
    };
    run(
        std::stoi(a[3]), std::stod(a[5]), [&](int) { return connect(a[2]); }, ask);
    return 0;
  }
  if ((what == "push" && argc == 8) || ((what == "pull" || what == "idle") && argc == 7)) {
    const std::string secret = read_file(a[3]);
    const int tenants = std::stoi(a[4]), devices = std::stoi(a[5]);
    const size_t rows = what == "push" ? std::stoul(a[6]) : 0;
    run(
        devices, std::stod(a[what == "push" ? 7 : 6]),
        [&](int i) {
          auto device =
              std::make_unique<Device>(a[2], secret, tenants == 1 ? "main" : "tenant" + std::to_string(i % tenants), i);
          if (what == "idle") device->pull(true);
          return device;
        },
        [&](Device& device) { return what == "push" ? device.push(rows) : device.pull(what == "pull"); });
    return 0;
  }
  die("see the top of bench/bench_server.cc for how to call it");
}

}  // namespace
}  // namespace rejoin::bench

int main(int argc, char** argv) { return rejoin::bench::main_of(argc, argv); }
