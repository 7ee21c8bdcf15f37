#include "tests/support/sync_loopback.h"

#include <algorithm>
#include <set>
#include <sstream>
#include <variant>

namespace rejoin::testing {

std::string difference(const std::string& one, const std::string& other) {
  if (one == other) return "";
  auto lines = [](const std::string& text) {
    std::set<std::string> out;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) out.insert(line);
    return out;
  };
  const std::set<std::string> left = lines(one), right = lines(other);
  std::string out;
  int left_only = 0, right_only = 0;
  for (const std::string& line : left)
    if (!right.count(line) && ++left_only <= 5) out += "- " + line + "\n";
  for (const std::string& line : right)
    if (!left.count(line) && ++right_only <= 5) out += "+ " + line + "\n";
  return out + std::to_string(left_only) + " lines only in the first, " + std::to_string(right_only) +
         " only in the second";
}

LoopbackServer::LoopbackServer()
    : peer_(std::make_unique<Peer>()), store_(sqlite::make_tenant_store(peer_->rejoin())) {}

LoopbackServer::LoopbackServer(std::unique_ptr<sync::TenantStore> store)
    : peer_(std::make_unique<Peer>()), store_(std::move(store)) {}

Bytes LoopbackServer::answer(BytesView bytes, const sync::Caller& caller) {
  ++exchanges;
  Result<sync::SyncRequest> request = sync::decode_request(bytes, sync::message_limits(settings));
  const int64_t now = peer_->clock().now_ms();
  if (!request.ok())
    return sync::encode_response(sync::error_response(request.error(), sync::facts_of(settings, caller, now)));
  return sync::encode_response(sync::serve(*request, caller, *store_, settings, now, &last));
}

sync::Done LoopbackDevice::sync(LoopbackServer& server) {
  auto store = sqlite::make_device_store(peer.rejoin(), url);
  SeededRandom random(7);
  sync::DeviceSession session(*store, random, options);
  const Error broken = fail(Code::network, "the connection broke");
  sync::Instruction next = session.start();
  exchanges = 0;
  for (int steps = 0; steps < 1'000'000; ++steps) {
    if (auto* done = std::get_if<sync::Done>(&next)) return *done;
    if (std::holds_alternative<sync::Sleep>(next)) {
      next = session.on_timer();
      continue;
    }
    Bytes request = std::move(std::get<sync::Send>(next).request);
    bytes_sent += request.size();
    largest_message = std::max<uint64_t>(largest_message, request.size());
    const uint64_t number = exchanges++;
    const Fault now = fault ? fault(number) : Fault::none;
    if (during_request) during_request(number);
    if (now == Fault::lose_request) {
      next = session.on_failure(broken);
      continue;
    }
    if (now == Fault::cut_request) {
      // Over HTTP the server would never see it whole; here it refuses it or takes what is left as a message.
      (void)server.answer(BytesView(request).substr(0, request.size() / 2), caller);
      next = session.on_failure(broken);
      continue;
    }
    if (now == Fault::refuse) {
      const Error often = fail(Code::rate_limited, "too often");
      const sync::ServerFacts facts = sync::facts_of(server.settings, caller, server.peer().clock().now_ms());
      next = session.on_response(sync::encode_response(sync::error_response(often, facts, 1000)));
      continue;
    }
    Bytes response = server.answer(request, caller);
    if (now == Fault::repeat_request) response = server.answer(request, caller);
    if (during_response) during_response(number);
    bytes_received += response.size();
    largest_message = std::max<uint64_t>(largest_message, response.size());
    if (now == Fault::lose_response) {
      next = session.on_failure(broken);
      continue;
    }
    if (now == Fault::cut_response) response.resize(response.size() / 2);
    if (now == Fault::flip_response)
      response[response.size() / 2] = static_cast<char>(response[response.size() / 2] ^ 0x10);
    next = session.on_response(response);
  }
  ADD_FAILURE() << "the session does not end";
  return {};
}

sync::SyncTotals LoopbackDevice::must_sync(LoopbackServer& server) {
  const sync::Done done = sync(server);
  EXPECT_FALSE(done.error) << (done.error ? done.error->message : "");
  return done.totals;
}

}  // namespace rejoin::testing
