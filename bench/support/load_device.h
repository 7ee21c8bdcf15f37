// A device for loads on a server: its changes are made up, its protocol is real.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/uuid.h"
#include "codec/changeset.h"
#include "crdt/key.h"
#include "net/http_client.h"
#include "server/jwt.h"
#include "sync/messages.h"

namespace rejoin::bench {

[[noreturn]] inline void die(const std::string& why) {
  std::fprintf(stderr, "bench: %s\n", why.c_str());
  std::exit(1);
}

inline std::string uuid_text(Random& random) {
  Bytes b = random.bytes(16);
  std::string hex = to_hex(b);
  return hex.substr(0, 8) + "-" + hex.substr(8, 4) + "-4" + hex.substr(13, 3) + "-8" + hex.substr(17, 3) + "-" +
         hex.substr(20, 12);
}

// A device that exists only here: its changes are made up, its protocol is real.
class Device {
 public:
  Device(const std::string& url, const std::string& secret, const std::string& tenant, int number)
      : random_(system_random().u64()), client_(*net::parse_url(url)) {  // keys that no earlier run has used
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

  const std::string& authorization() const { return headers_[0].second; }
  const Bytes& cursor() const { return cursor_; }
  crdt::SiteId site() const { return site_; }

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
      // Turned away because the server is busy: it waits as long as it is told, as a device does. The wait counts as
      // the request's.
      if (reply.ok() && (reply->status == 503 || reply->status == 504 || reply->status == 429) && attempt < 3000) {
        std::this_thread::sleep_for(std::chrono::milliseconds(std::max<int64_t>(20, reply->retry_after_ms())));
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

inline std::string read_file(const std::string& path) {
  std::ifstream in(path);
  std::string text((std::istreambuf_iterator<char>(in)), {});
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  if (text.empty()) die("cannot read " + path);
  return text;
}

}  // namespace rejoin::bench
