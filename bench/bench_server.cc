// Load on a server, as many devices at once, and the same rows by plain batched SQL.
//
//     bench_server push  URL SECRET_FILE TENANTS DEVICES ROWS SECONDS   devices push ROWS changed rows a request
//     bench_server pull  URL SECRET_FILE TENANTS DEVICES SECONDS        devices without rows pull everything, again and
//                                                                       again
//     bench_server idle  URL SECRET_FILE TENANTS DEVICES SECONDS        devices that have everything ask for news
//     bench_server sql   POSTGRES CONNECTIONS ROWS SECONDS              INSERT … SELECT unnest … ON CONFLICT DO UPDATE
//
// A pushed change is half the time a new row, half the time one column of an old one. Prints JSON: requests, rows,
// seconds, milliseconds per request (p50, p99).
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/uuid.h"
#include "codec/changeset.h"
#include "crdt/key.h"
#include "net/http_client.h"
#include "postgres/connection.h"
#include "server/jwt.h"
#include "sync/messages.h"

namespace rejoin::bench {
namespace {

using Instant = std::chrono::steady_clock::time_point;

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "bench_server: %s\n", why.c_str());
  std::exit(1);
}

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

std::string uuid_text(Random& random) {
  Bytes b = random.bytes(16);
  std::string hex = to_hex(b);
  return hex.substr(0, 8) + "-" + hex.substr(8, 4) + "-4" + hex.substr(13, 3) + "-8" + hex.substr(17, 3) + "-" +
         hex.substr(20, 12);
}

// A device that exists only here: its changes are made up, its protocol is real.
class Device {
 public:
  Device(const std::string& url, const std::string& secret, const std::string& tenant, int number)
      : random_(static_cast<uint64_t>(number) * 7919 + 17), client_(*net::parse_url(url)) {
    site_ = crdt::SiteId::from(system_random().bytes(16));
    sites_.intern(site_);
    server::Claims claims;
    claims.tenant = tenant;
    claims.device = "device " + std::to_string(number) + " " + to_hex(site_.view().substr(0, 4));
    const int64_t now = system_clock().now_ms();
    claims.expires_s = now / 1000 + 3600;
    auto token = server::mint_token(claims, secret, now);
    if (!token.ok()) die(token.error().message);
    headers_ = {{"authorization", "Bearer " + *token},
                {"content-type", "application/x-protobuf"},
                {"accept", "application/x-protobuf"}};
  }

  uint64_t push(size_t rows) {
    sync::SyncRequest request = hello();
    request.push.emplace();
    request.push->chain_token = token_;
    request.push->nonce = system_random().bytes(16);
    request.push->frame = frame(rows);
    const sync::SyncResponse response = exchange(request);
    if (!response.ack) die("a push was not acknowledged");
    if (!response.ack->refused.empty()) die("a row was refused: " + response.ack->refused[0].reason);
    token_ = response.ack->next_chain_token;
    return rows;
  }

  // Until nothing more is there. Rows.
  uint64_t pull(bool from_the_start) {
    uint64_t rows = 0;
    if (from_the_start) cursor_.clear();
    for (;;) {
      sync::SyncRequest request = hello();
      request.pull.emplace();
      request.pull->cursor = cursor_;
      const sync::SyncResponse response = exchange(request);
      if (!response.page) die("a pull was not answered");
      cursor_ = response.page->next_cursor;
      rows += response.page->rows;
      if (!response.page->more) return rows;
    }
  }

 private:
  sync::SyncRequest hello() const {
    sync::SyncRequest request;
    request.hello.site = site_;
    return request;
  }

  sync::SyncResponse exchange(const sync::SyncRequest& request) {
    const Bytes body = sync::encode_request(request);
    for (int attempt = 0;; ++attempt) {
      auto reply = client_.post("/v1/sync", headers_, body);
      // Turned away because the server is busy: the wait counts as the request's.
      if (reply.ok() && (reply->status == 503 || reply->status == 504 || reply->status == 429) && attempt < 3000) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        continue;
      }
      if (!reply.ok()) die(reply.error().message);
      if (reply->status != 200)
        die("status " + std::to_string(reply->status) + ": " + to_hex(reply->body.substr(0, 300)));
      auto response = sync::decode_response(reply->body);
      if (!response.ok()) die(response.error().message);
      if (response->error && code_retryable(response->error->code) && attempt < 3000) continue;
      if (response->error) die(response->error->message);
      return *response;
    }
  }

  Bytes frame(size_t rows) {
    struct Row {
      Bytes key;
      std::string title;
      bool fresh;
    };
    std::vector<Row> all;
    for (size_t i = 0; i < rows; ++i) {
      const bool fresh = keys_.size() < rows || (random_.u64() & 1);
      Row row{{}, "title " + std::to_string(random_.u64() % 1'000'000'000), fresh};
      if (fresh) {
        const std::string id = uuid_text(random_);
        const crdt::ValueRef value = crdt::ValueRef::of_text(id);
        crdt::encode_key(std::span(&value, 1), row.key);
      } else {
        row.key = keys_[random_.u64() % keys_.size()];
      }
      all.push_back(std::move(row));
    }
    std::sort(all.begin(), all.end(), [](const Row& a, const Row& b) { return a.key < b.key; });
    all.erase(std::unique(all.begin(), all.end(), [](const Row& a, const Row& b) { return a.key == b.key; }),
              all.end());
    codec::FrameInfo info;
    info.source = site_;
    info.through = info.horizon = ++position_;
    codec::ChangesetWriter writer(info, sites_);
    writer.begin_table({"todos", {"id"}, {"title", "done", "priority"}});
    const crdt::Stamp stamp{crdt::hlc_of_ms(system_clock().now_ms()) | (position_ & 0xffff), 0};
    crdt::RowRecord record;
    for (const Row& row : all) {
      record.reset();
      if (row.fresh) {
        record.insert(stamp, 3);
        const crdt::ValueRef values[] = {crdt::ValueRef::of_text(row.title), crdt::ValueRef::of_integer(0),
                                         crdt::ValueRef::of_integer(5)};
        writer.add(row.key, record, crdt::ColumnSet::first(3), true, values);
        if (keys_.size() < 100'000) keys_.push_back(row.key);
      } else {
        record.write(crdt::ColumnSet::of(0), stamp);
        const crdt::ValueRef values[] = {crdt::ValueRef::of_text(row.title)};
        writer.add(row.key, record, crdt::ColumnSet::of(0), false, values);
      }
    }
    return writer.finish();
  }

  SeededRandom random_;
  net::HttpClient client_;
  net::HttpHeaders headers_;
  crdt::SiteId site_;
  crdt::SiteTable sites_;
  std::vector<Bytes> keys_;
  Bytes token_, cursor_;
  uint64_t position_ = 0;
};

std::string read_file(const std::string& path) {
  std::ifstream in(path);
  std::string text((std::istreambuf_iterator<char>(in)), {});
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  if (text.empty()) die("cannot read " + path);
  return text;
}

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
      "INSERT INTO todos_plain SELECT u.id::uuid, u.title, u.done <> 0, u.priority FROM unnest($1::text[], $2::text[], "
      "$3::bigint[], $4::bigint[]) AS u(id, title, done, priority) ON CONFLICT (id) DO UPDATE SET title = "
      "EXCLUDED.title",
      postgres::Params().array(ids).array(titles).array(done).array(priority));
  if (!rows_done.ok()) die(rows_done.error().message);
  return rows;
}

int main_of(int argc, char** argv) {
  const std::vector<std::string> a(argv, argv + argc);
  const std::string what = argc > 1 ? a[1] : "";
  if (what == "sql" && argc == 6) {
    std::atomic<uint64_t> seed = 1;
    const size_t rows = std::stoul(a[4]);
    run(
        std::stoi(a[3]), std::stod(a[5]),
        [&](int) {
          auto db = postgres::Connection::open(a[2]);
          if (!db.ok()) die(db.error().message);
          auto s = std::make_unique<Sql>();
          s->db = std::move(*db);
          s->random = SeededRandom(seed++ * 104729);
          return s;
        },
        [&](Sql& s) { return upsert(s, rows); });
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
