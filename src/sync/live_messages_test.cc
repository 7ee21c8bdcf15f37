// The messages of a live connection survive their encoding, and hostile bytes are refused without harm.
#include "sync/live_messages.h"

#include <gtest/gtest.h>

#include <string>

#if __has_include(<rejoin.pb.h>)
#include <rejoin.pb.h>
#define REJOIN_HAVE_PROTOC 1
#endif

namespace rejoin::sync {
namespace {

LiveRequest full_live_request() {
  LiveRequest request;
  request.sync.emplace();
  request.sync->hello.site = crdt::SiteId::from("0123456789abcdef");
  request.sync->pull = Pull{"cursor", 7, "chain"};
  request.token = "a.fresh.token";
  request.listen = {"typing", "presence"};
  request.message = AppMessage{"typing", Bytes("\0\xff", 2), ""};
  return request;
}

LiveEvent full_event() {
  LiveEvent event;
  SyncResponse response;
  response.page = PageMessage{"frame", "cursor", true, false, 3};
  event.response = encode_response({});
  event.page = encode_response(response);
  event.message = AppMessage{"typing", "data", "phone"};
  event.expires_in_ms = 1234;
  event.error = WireError{Code::rate_limited, "wait", 500};
  return event;
}

TEST(LiveMessages, SurviveTheirEncoding) {
  const auto request = decode_live_request(encode_live_request(full_live_request()));
  ASSERT_TRUE(request.ok()) << request.error().message;
  EXPECT_EQ(*request, full_live_request());
  LiveRequest empty;
  empty.listen.emplace();  // to nothing any more
  EXPECT_EQ(*decode_live_request(encode_live_request(empty)), empty);
  const auto event = decode_live_event(encode_live_event(full_event()));
  ASSERT_TRUE(event.ok()) << event.error().message;
  EXPECT_EQ(encode_live_event(*event), encode_live_event(full_event()));
  EXPECT_EQ(event->page, full_event().page);
  EXPECT_EQ(event->error->retry_after_ms, 500u);
  const Bytes inner = encode_request(*full_live_request().sync);
  EXPECT_EQ(decode_live_request(wrap_sync_request(inner))->sync, full_live_request().sync);
}

TEST(LiveMessages, LimitsAreNamed) {
  LiveRequest request = full_live_request();
  request.message->data.assign(kMostAppBytes + 1, 'x');
  EXPECT_EQ(decode_live_request(encode_live_request(request)).error().code, Code::too_large);
  EXPECT_EQ(check_live_request(request, {}).error().code, Code::too_large);
  request = full_live_request();
  request.listen->assign(kMostTopics + 1, "t");
  EXPECT_EQ(decode_live_request(encode_live_request(request)).error().code, Code::too_large);
  for (const std::string& topic : {std::string(), std::string(kMostTopicBytes + 1, 't')}) {
    request = full_live_request();
    request.listen = {topic};
    EXPECT_FALSE(decode_live_request(encode_live_request(request)).ok());
    request = full_live_request();
    request.message->topic = topic;
    EXPECT_FALSE(decode_live_request(encode_live_request(request)).ok());
  }
  request = full_live_request();
  request.protocol = 2;
  EXPECT_EQ(decode_live_request(encode_live_request(request)).error().code, Code::unsupported);
}

TEST(LiveMessages, DamageIsRefused) {
  const Bytes request = encode_live_request(full_live_request()), event = encode_live_event(full_event());
  for (const Bytes* whole : {&request, &event})
    for (size_t n = 0; n < whole->size(); ++n) {
      (void)decode_live_request(BytesView(*whole).substr(0, n)).ok();
      (void)decode_live_event(BytesView(*whole).substr(0, n)).ok();
    }
  // A part that may be there once only.
  EXPECT_EQ(decode_live_request(request + request.substr(2)).error().code, Code::corrupt);
  EXPECT_EQ(decode_live_event(event + event.substr(2)).error().code, Code::corrupt);
  EXPECT_FALSE(decode_live_request("").ok());
  EXPECT_FALSE(decode_live_event("not one").ok());
}

#ifdef REJOIN_HAVE_PROTOC
TEST(LiveMessages, AreWhatProtocMakesOfTheContract) {
  rejoin::v1::LiveRequest request;
  ASSERT_TRUE(request.ParseFromString(encode_live_request(full_live_request())));
  EXPECT_EQ(request.protocol(), 1u);
  EXPECT_EQ(request.sync().pull().cursor(), "cursor");
  EXPECT_EQ(request.token(), "a.fresh.token");
  EXPECT_EQ(request.listen().topics_size(), 2);
  EXPECT_EQ(request.listen().topics(1), "presence");
  EXPECT_EQ(request.message().data(), std::string("\0\xff", 2));
  EXPECT_EQ(*decode_live_request(request.SerializeAsString()), full_live_request());
  rejoin::v1::LiveEvent event;
  ASSERT_TRUE(event.ParseFromString(encode_live_event(full_event())));
  EXPECT_TRUE(event.has_response());
  EXPECT_EQ(event.page().page().rows(), 3u);
  EXPECT_EQ(event.message().from(), "phone");
  EXPECT_EQ(event.expires_in_ms(), 1234u);
  EXPECT_EQ(event.error().name(), "rate_limited");
  EXPECT_TRUE(decode_live_event(event.SerializeAsString()).ok());
}
#endif

}  // namespace
}  // namespace rejoin::sync
