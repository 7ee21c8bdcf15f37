// The JSON form says the same as the binary form.
#include "server/message_json.h"

#include <gtest/gtest.h>

#include <string>

#include "server/base64.h"
#include "server/strict_json.h"

namespace rejoin::server {
namespace {

const sync::MessageLimits kLimits;
const std::string kSite = base64("0123456789abcdef");

TEST(MessageJson, RequestComesBack) {
  sync::SyncRequest request;
  request.hello = {crdt::SiteId::from("0123456789abcdef"), "00ff", "{}", "curl"};
  request.push = sync::Push{"token", Bytes(16, '\x01'), Bytes("\0\xff", 2)};
  request.pull = sync::Pull{"cursor", 99, "chain", true, true};
  const Result<sync::SyncRequest> back = request_from_json(request_to_json(request), kLimits);
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(*back, request);
}

TEST(MessageJson, ResponseComesBack) {
  sync::SyncResponse response;
  response.facts = {1'700'000'000'123, true, 5, 4, "00ff"};
  response.need_contract = true;
  response.ack = sync::Ack{Bytes(16, 'n'), "next", {{"t", "k", "[1]", Code::forbidden, "why", Bytes("\0row", 4)}}, 3};
  response.page = sync::PageMessage{"frame", "cursor", true, true, 2, {{"t", false, {"k", "l"}}, {"u", true, {}}}};
  response.error = sync::WireError{Code::busy, "later", 10};
  response.restored =
      sync::Restored{{crdt::SiteId::from("0123456789abcdef"), crdt::SiteId::from("fedcba9876543210")}, 9};
  const Result<sync::SyncResponse> back = response_from_json(response_to_json(response), kLimits);
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(sync::encode_response(*back), sync::encode_response(response));
}

TEST(MessageJson, ReadsWhatProtobufLibrariesWrite) {
  const Result<sync::SyncRequest> back = request_from_json(
      R"({"protocol":1,"hello":{"site":")" + kSite +
          R"(","contractFingerprint":"ab","contractJson":null},"pull":{"maxBytes":"4096"},"later":[1]})",
      kLimits);
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(back->hello.contract_fingerprint, "ab");
  ASSERT_TRUE(back->pull);
  EXPECT_EQ(back->pull->max_bytes, 4096u);
}

TEST(MessageJson, RefusesWhatBreaksTheRules) {
  struct Case {
    std::string text;
    Code code;
  };
  const std::string hello = R"("hello":{"site":")" + kSite + "\"}";
  const Case cases[] = {
      {"", Code::corrupt},
      {"[]", Code::corrupt},
      {"{}", Code::corrupt},
      {"{\"protocol\":1}", Code::corrupt},
      {"{\"protocol\":2," + hello + "}", Code::unsupported},
      {"{\"protocol\":99999999999," + hello + "}", Code::unsupported},
      {"{\"protocol\":-1," + hello + "}", Code::corrupt},
      {"{\"protocol\":1,\"protocol\":1," + hello + "}", Code::corrupt},
      {"{\"protocol\":1," + hello + "}x", Code::corrupt},
      {"{\"protocol\":1,\"hello\":[]}", Code::corrupt},
      {"{\"protocol\":1,\"hello\":{\"site\":\"AAAA\"}}", Code::corrupt},
      {"{\"protocol\":1,\"hello\":{\"site\":\"!!\"}}", Code::corrupt},
      {"{\"protocol\":1," + hello + ",\"pull\":{\"max_bytes\":1.5}}", Code::corrupt},
      {"{\"protocol\":1," + hello + ",\"pull\":{\"max_bytes\":\"-1\"}}", Code::corrupt},
      {"{\"protocol\":1," + hello + ",\"pull\":{\"cursor\":7}}", Code::corrupt},
      {"{\"protocol\":1," + hello + ",\"push\":{}}", Code::corrupt},
      {std::string(100, '['), Code::corrupt},
  };
  for (const Case& c : cases) {
    const Result<sync::SyncRequest> back = request_from_json(c.text, kLimits);
    ASSERT_FALSE(back.ok()) << c.text;
    EXPECT_EQ(back.error().code, c.code) << c.text << ": " << back.error().message;
  }
}

TEST(MessageJson, ManySmallValuesDoNotTakeManyTimesTheirMemory) {
  std::string numbers = "[0";
  for (int i = 0; i < 10'000; ++i) numbers += ",0";
  const Result<sync::SyncRequest> back =
      request_from_json("{\"protocol\":1,\"hello\":{\"site\":\"" + kSite + "\"},\"x\":" + numbers + "]}", kLimits);
  ASSERT_FALSE(back.ok());
  EXPECT_EQ(back.error().code, Code::too_large);
}

TEST(MessageJson, ErrorsHaveOneShape) {
  EXPECT_EQ(error_to_json(fail(Code::unauthorized, "no \"token\"")),
            R"({"error":{"code":13,"name":"unauthorized","message":"no \"token\""}})");
}

TEST(MessageJson, LiveRequestsSayWhatTheirBinaryFormSays) {
  const auto request = live_request_from_json(
      R"({"protocol":1,"sync":{"protocol":1,"hello":{"site":")" + kSite +
          R"("},"pull":{"cursor":"AAE="}},"token":"a.b.c","listen":{"topics":["typing","x"]},"message":{"topic":"t","data":"AP8="}})",
      kLimits);
  ASSERT_TRUE(request.ok()) << request.error().message;
  const auto back = sync::decode_live_request(sync::encode_live_request(*request));
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(*back, *request);
  EXPECT_EQ(back->message->data, Bytes("\0\xff", 2));
  EXPECT_EQ(back->sync->pull->cursor, Bytes("\0\x01", 2));
  EXPECT_EQ(*back->listen, (std::vector<std::string>{"typing", "x"}));
  for (const char* text : {R"({})", R"({"protocol":2})", R"({"protocol":1,"sync":{}})", R"({"protocol":1,"listen":7})",
                           R"({"protocol":1,"listen":{"topics":"t"}})", R"({"protocol":1,"message":{"data":"AA=="}})",
                           R"({"protocol":1,"token":1})", R"({"protocol":1,"listen":{"topics":[""]}})"})
    EXPECT_FALSE(live_request_from_json(text, kLimits).ok()) << text;
}

TEST(MessageJson, LiveEventsHoldTheirResponsesAsTheyAre) {
  sync::SyncResponse response;
  response.page = sync::PageMessage{"frame", "cursor", false, false, 2};
  sync::LiveEvent event;
  event.page = response_to_json(response);
  event.message = sync::AppMessage{"t\"x", "data", "phone"};
  event.expires_in_ms = 7;
  event.error = sync::WireError{Code::rate_limited, "wait", 9};
  const std::string text = live_event_to_json(event);
  EXPECT_TRUE(parse_strict_json(text).ok()) << text;
  EXPECT_NE(text.find("\"page\":" + *event.page), std::string::npos);
  EXPECT_NE(text.find(R"("message":{"topic":"t\"x","data":"ZGF0YQ==","from":"phone"},"expires_in_ms":7)"),
            std::string::npos)
      << text;
  EXPECT_EQ(live_event_to_json({}), R"({"protocol":1})");
}

}  // namespace
}  // namespace rejoin::server
