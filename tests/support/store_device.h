// A device at the level of the calls of sync/store.h, and the tables that it shares with its store.
#pragma once

#include <string>
#include <vector>

#include "tests/support/store_world.h"

namespace rejoin::testing {

inline const std::vector<StoreTable> kStoreTables{
    {"todos", "id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0",
     "id text PRIMARY KEY, title text, done bigint DEFAULT 0"},
    {"notes", "a TEXT, b INTEGER, body BLOB, PRIMARY KEY(a, b)", "a text, b bigint, body bytea, PRIMARY KEY(a, b)"}};
inline const std::string kStoreSchema =
    "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0);"
    "CREATE TABLE notes(a TEXT, b INTEGER, body BLOB, PRIMARY KEY(a, b));";
inline const std::vector<std::string> kStoreNames{"todos", "notes"};

template <class T>
Code code_of(const Result<T>& result) {
  return result.ok() ? Code::ok : result.error().code;
}
inline Code code_of(const Status& status) { return status.ok() ? Code::ok : status.error().code; }

// A device at the level of the store's calls: what its session would send, spelled out.
struct StoreDevice {
  explicit StoreDevice(const std::string& device, const std::string& schema = kStoreSchema,
                       const std::vector<std::string>& tracked = kStoreNames)
      : name(device), peer(schema, tracked), random(++seeds) {
    peer.clock().set(system_clock().now_ms());
  }

  crdt::SiteId site() { return crdt::SiteId::from(peer.site()); }
  void write(const std::string& prefix, int count) {
    peer.run("WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<" + std::to_string(count) +
             ") INSERT INTO todos SELECT '" + prefix + "'||i, 'title of row number '||i, i%2 FROM n");
  }
  // The next page of its changes, from where the last one ended.
  Bytes frame(uint64_t max_bytes = ~uint64_t{0}, bool own_only = true) {
    sqlite::PageRequest want;
    want.cursor = position;
    want.max_bytes = max_bytes;
    if (own_only) want.only_site = site();
    auto page = peer.rejoin().page(want);
    EXPECT_TRUE(page.ok()) << page.error().message;
    position = page->next;
    more = page->more;
    return page->frame;
  }
  // A push of it, with a nonce of its own.
  sync::PushRequest request(BytesView frame) {
    sync::PushRequest r;
    r.device = name;
    r.site = site();
    r.chain_token = token;
    r.nonce = random.bytes(16);
    r.frame = frame;
    r.now_ms = system_clock().now_ms();
    r.drift_ms = 60'000;
    return r;
  }
  Result<sync::PushReply> push(sync::TenantStore& store, BytesView frame) { return push(store, request(frame)); }
  Result<sync::PushReply> push(sync::TenantStore& store, const sync::PushRequest& request) {
    auto reply = store.push(request);
    if (reply.ok()) token = reply->next_chain_token;
    return reply;
  }
  sync::PullRequest pull(uint64_t max_bytes = 1 << 20) {
    sync::PullRequest r;
    r.device = name;
    r.site = site();
    r.cursor = cursor;
    r.max_bytes = max_bytes;
    return r;
  }
  // Takes one page. The number of rows in it.
  uint64_t take(sync::TenantStore& store, uint64_t max_bytes = 1 << 20) {
    auto reply = store.pull(pull(max_bytes));
    EXPECT_TRUE(reply.ok()) << reply.error().message;
    if (!reply.ok()) return 0;
    restarted |= reply->restarted;
    if (!reply->frame.empty()) peer.apply(reply->frame);
    cursor = reply->next_cursor;
    more = reply->more;
    return reply->rows;
  }
  // Takes pages until there are no more.
  uint64_t take_all(sync::TenantStore& store, uint64_t max_bytes = 1 << 20) {
    uint64_t rows = 0;
    pages = 0;
    do {
      rows += take(store, max_bytes);
    } while (more && ++pages < 10'000);
    EXPECT_FALSE(more) << "the pages do not end";
    return rows;
  }

  static inline uint64_t seeds = 0;
  std::string name;
  Peer peer;
  SeededRandom random;
  Bytes token, cursor, position;
  bool more = false, restarted = false;
  int pages = 0;
};

}  // namespace rejoin::testing
