// A device that is pushed from by hand: its changes as the requests that a store gets.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/support/peer.h"

namespace rejoin::testing {

struct PushingDevice {
  // `table`: CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, …).
  PushingDevice(const std::string& device, const std::string& table) : name(device), peer(table, {"todos"}) {
    peer.clock().set(system_clock().now_ms());
  }
  void write(const std::string& title) {
    peer.run("INSERT INTO todos(id, title) VALUES ('" + name + std::to_string(++rows) + "', '" + title + "')");
  }
  // Its next changes; the frame is kept here.
  sync::PushRequest request() {
    sqlite::PageRequest want;
    want.cursor = position;
    auto page = peer.rejoin().page(want);
    EXPECT_TRUE(page.ok()) << page.error().message;
    position = page->next;
    frames.push_back(std::make_unique<Bytes>(page->frame));
    sync::PushRequest r;
    r.device = name;
    r.site = crdt::SiteId::from(peer.site());
    r.chain_token = token;
    r.nonce = system_random().bytes(16);
    r.frame = *frames.back();
    r.now_ms = system_clock().now_ms();
    r.drift_ms = 60'000;
    return r;
  }
  std::string name;
  Peer peer;
  int rows = 0;
  Bytes position, token;
  std::vector<std::unique_ptr<Bytes>> frames;
};

}  // namespace rejoin::testing
