// Messages of a live connection that were written once are read for ever: those of tests/golden, byte by byte, beside
// their JSON. After a deliberate change REJOIN_WRITE_GOLDEN=1 writes what today's code makes; old files stay under a
// name of their own.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "server/message_json.h"

namespace rejoin::sync {
namespace {

const std::string kGolden = std::string(REJOIN_SOURCE_DIR) + "/tests/golden/";

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path << " can't be read";
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

void golden(const std::string& name, const std::string& now) {
  if (std::getenv("REJOIN_WRITE_GOLDEN")) std::ofstream(kGolden + name, std::ios::binary) << now;
  EXPECT_EQ(to_hex(now), to_hex(read_file(kGolden + name))) << name;
}

LiveRequest follow() {
  LiveRequest request;
  request.sync.emplace();
  request.sync->hello.site = crdt::SiteId::from("0123456789abcdef");
  request.sync->pull = Pull{"cursor", 7, "chain"};
  return request;
}

std::vector<std::pair<std::string, LiveRequest>> requests() {
  LiveRequest push = follow(), topics, deaf, token;
  push.sync->push.emplace();
  push.sync->push->chain_token = "chain";
  push.sync->push->nonce = "0123456789ABCDEF";
  push.sync->push->frame = Bytes("\0frame", 6);
  topics.listen = {"typing", "presence"};
  topics.message = AppMessage{"typing", Bytes("\0\xff", 2), ""};
  deaf.listen.emplace();
  token.token = "a.fresh.token";
  return {{"follow", follow()}, {"push", push}, {"topics", topics}, {"deaf", deaf}, {"token", token}};
}

SyncResponse page() {
  SyncResponse response;
  response.facts.now_ms = 1'790'000'000'000;
  response.page = PageMessage{"frame", "cursor", true, false, 3};
  return response;
}

SyncResponse acknowledgement() {
  SyncResponse response;
  response.ack = Ack{"0123456789ABCDEF", "next", {}, 2};
  return response;
}

// Each as it is encoded, and with the responses as JSON.
std::vector<std::tuple<std::string, LiveEvent, LiveEvent>> events() {
  LiveEvent answer, news, message, refusal;
  LiveEvent answer_json, news_json;
  answer.response = encode_response(acknowledgement());
  answer_json.response = server::response_to_json(acknowledgement());
  answer.expires_in_ms = answer_json.expires_in_ms = 1234;
  news.page = encode_response(page());
  news_json.page = server::response_to_json(page());
  message.message = AppMessage{"typing", Bytes("\0\xff", 2), "phone"};
  refusal.error = WireError{Code::rate_limited, "wait", 500};
  return {{"answer", answer, answer_json},
          {"news", news, news_json},
          {"message", message, message},
          {"refusal", refusal, refusal}};
}

TEST(LiveMessagesGolden, TodaysWriterMakesTheGoldenFiles) {
  for (const auto& [name, request] : requests()) golden(name + ".liverequest", encode_live_request(request));
  for (const auto& [name, event, json] : events()) {
    golden(name + ".liveevent", encode_live_event(event));
    golden(name + ".liveevent.json", server::live_event_to_json(json) + "\n");
  }
}

TEST(LiveMessagesGolden, TodaysReaderReadsEveryGoldenFile) {
  size_t found = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kGolden)) {
    const std::string path = entry.path().string();
    if (path.ends_with(".liverequest")) {
      const auto request = decode_live_request(read_file(path));
      ASSERT_TRUE(request.ok()) << path << ": " << request.error().message;
      const auto json = server::live_request_from_json(read_file(path + ".json"), {});
      ASSERT_TRUE(json.ok()) << path << ": " << json.error().message;
      EXPECT_EQ(*request, *json) << path;
      ++found;
    } else if (path.ends_with(".liveevent")) {
      auto event = decode_live_event(read_file(path));
      ASSERT_TRUE(event.ok()) << path << ": " << event.error().message;
      for (std::optional<Bytes>* part : {&event->response, &event->page}) {
        if (!*part) continue;
        const auto response = decode_response(**part);
        ASSERT_TRUE(response.ok()) << path << ": " << response.error().message;
        *part = server::response_to_json(*response);
      }
      EXPECT_EQ(server::live_event_to_json(*event) + "\n", read_file(path + ".json")) << path;
      ++found;
    }
  }
  EXPECT_GE(found, requests().size() + events().size());
}

TEST(LiveMessagesGolden, TheGoldenRequestsAreWhatTheyAreCalled) {
  for (const auto& [name, request] : requests()) {
    const auto read = decode_live_request(read_file(kGolden + name + ".liverequest"));
    ASSERT_TRUE(read.ok()) << name;
    EXPECT_EQ(*read, request) << name;
  }
}

}  // namespace
}  // namespace rejoin::sync
