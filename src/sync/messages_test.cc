// The messages survive their encoding, and hostile bytes are refused without harm.
#include "sync/messages.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#if __has_include(<rejoin.pb.h>)
#include <rejoin.pb.h>
#define REJOIN_HAVE_PROTOC 1
#endif

namespace rejoin::sync {
namespace {

crdt::SiteId some_site() { return crdt::SiteId::from("0123456789abcdef"); }

SyncRequest full_request() {
  SyncRequest request;
  request.hello = {some_site(), "00ff", "{\"tables\":[]}", "test/1"};
  request.push = Push{"token", Bytes(16, '\x01'), Bytes("frame\0with zero", 15)};
  request.pull = Pull{Bytes("\x01\x00\xff", 3), 4096, "chain", true, true};
  return request;
}

SyncResponse full_response() {
  SyncResponse response;
  response.facts = {1'700'000'000'123, true, 1 << 20, 1 << 16, "00ff"};
  response.need_contract = true;
  response.ack = Ack{Bytes(16, '\x02'),
                     "next",
                     {{"todos", "\x30key", "[\"key\"]", Code::too_large, "above the limit", Bytes("RJC1\0row", 8)}},
                     7};
  response.page =
      PageMessage{"page", "cursor", true,
                  true,   3,        {{"todos", false, {"\x30key", ""}}, {"lists", true, {}, 1'700'000'000'000 << 16}}};
  response.error = WireError{Code::clock_ahead, "a message", 1500};
  response.restored = Restored{{some_site(), crdt::SiteId::from("fedcba9876543210")}, 1'700'000'000'000 << 16};
  return response;
}

TEST(Messages, RequestSurvivesItsEncoding) {
  const Result<SyncRequest> back = decode_request(encode_request(full_request()));
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(*back, full_request());
}

TEST(Messages, WhatIsThereButEmptyStaysThere) {
  // A first pull of an empty database, and the answer that there is nothing.
  SyncRequest request;
  request.hello.site = some_site();
  request.pull.emplace();
  const Result<SyncRequest> back = decode_request(encode_request(request));
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_TRUE(back->pull);
  SyncResponse response;
  response.page.emplace();
  response.ack.emplace();
  const Result<SyncResponse> answer = decode_response(encode_response(response));
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  EXPECT_TRUE(answer->page);
  EXPECT_TRUE(answer->ack);
}

TEST(Messages, RequestWithoutPushAndPullSurvives) {
  SyncRequest request;
  request.hello.site = some_site();
  const Result<SyncRequest> back = decode_request(encode_request(request));
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(*back, request);
}

TEST(Messages, ResponseSurvivesItsEncoding) {
  const Bytes bytes = encode_response(full_response());
  const Result<SyncResponse> back = decode_response(bytes);
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(back->facts.now_ms, 1'700'000'000'123);
  EXPECT_TRUE(back->facts.may_relay);
  EXPECT_TRUE(back->need_contract);
  ASSERT_TRUE(back->ack && back->page && back->error && back->restored);
  EXPECT_EQ(back->restored->sites, full_response().restored->sites);
  EXPECT_EQ(back->restored->through, full_response().restored->through);
  EXPECT_EQ(back->ack->refused.at(0).code, Code::too_large);
  EXPECT_EQ(back->ack->refused.at(0).key, "\x30key");
  EXPECT_EQ(back->ack->refused.at(0).server, Bytes("RJC1\0row", 8));
  EXPECT_EQ(back->ack->rows, 7u);
  EXPECT_TRUE(back->page->more && back->page->restarted);
  EXPECT_EQ(back->page->evicted, full_response().page->evicted);
  EXPECT_EQ(back->error->code, Code::clock_ahead);
  EXPECT_EQ(back->error->retry_after_ms, 1500u);
  EXPECT_EQ(encode_response(*back), bytes);
}

TEST(Messages, UnknownFieldsAreSkipped) {
  Bytes bytes = encode_request(full_request());
  bytes += Bytes("\xa2\x06\x03xyz", 6);  // field 100, three bytes
  bytes += Bytes("\xa8\x06\x05", 3);     // field 101, a varint
  const Result<SyncRequest> back = decode_request(bytes);
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(*back, full_request());
}

TEST(Messages, AnotherProtocolIsUnsupportedWhateverElseItHolds) {
  SyncRequest request = full_request();
  request.protocol = 2;
  const Result<SyncRequest> back = decode_request(encode_request(request));
  ASSERT_FALSE(back.ok());
  EXPECT_EQ(back.error().code, Code::unsupported);
  // A later version may give known numbers other types; still the answer is about the version.
  const Result<SyncRequest> odd = decode_request(Bytes("\x08\x02\x10\x01", 4));
  ASSERT_FALSE(odd.ok());
  EXPECT_EQ(odd.error().code, Code::unsupported);
}

TEST(Messages, CutMessagesAreNeverTakenForOthers) {
  const Bytes bytes = encode_request(full_request());
  for (size_t n = 0; n < bytes.size(); ++n) {
    const Result<SyncRequest> back = decode_request(BytesView(bytes).substr(0, n));
    // A cut between two fields is a message of its own; anything else is refused.
    if (back.ok()) {
      EXPECT_EQ(encode_request(*back), bytes.substr(0, n));
    }
  }
}

TEST(Messages, EveryBitFlipIsReadOrRefusedWithoutHarm) {
  for (const Bytes& whole : {encode_request(full_request()), encode_response(full_response())}) {
    for (size_t bit = 0; bit < whole.size() * 8; ++bit) {
      Bytes bytes = whole;
      bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
      (void)decode_request(bytes).ok();
      (void)decode_response(bytes).ok();
    }
  }
}

TEST(Messages, RefusesWhatBreaksTheRules) {
  struct Case {
    const char* what;
    Bytes bytes;
    Code code;
  };
  SyncRequest request = full_request();
  const Bytes good = encode_request(request);
  SyncRequest short_nonce = request;
  short_nonce.push->nonce = "short";
  SyncRequest no_frame = request;
  no_frame.push->frame.clear();
  SyncRequest odd_fingerprint = request;
  odd_fingerprint.hello.contract_fingerprint = "../../etc";
  const Case cases[] = {
      {"nothing", "", Code::corrupt},
      {"text", "GET / HTTP/1.1\r\n\r\n", Code::corrupt},
      {"no hello", Bytes("\x08\x01", 2), Code::corrupt},
      {"site of one byte", Bytes("\x08\x01\x12\x03\x0a\x01x", 7), Code::corrupt},
      {"length beyond the end", Bytes("\x08\x01\x12\x7f\x0a\x01x", 7), Code::corrupt},
      {"length of 2^63", Bytes("\x08\x01\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 12), Code::corrupt},
      {"varint without an end", Bytes("\x08\x01\x18") + Bytes(11, '\xff'), Code::corrupt},
      {"known field, other type", Bytes("\x08\x01\x10\x05", 4), Code::corrupt},
      {"group", Bytes("\x08\x01\x13\x14", 4), Code::corrupt},
      {"two hellos", good + good.substr(2), Code::corrupt},
      {"short nonce", encode_request(short_nonce), Code::corrupt},
      {"push without frame", encode_request(no_frame), Code::corrupt},
      {"odd fingerprint", encode_request(odd_fingerprint), Code::corrupt},
  };
  for (const Case& c : cases) {
    const Result<SyncRequest> back = decode_request(c.bytes);
    ASSERT_FALSE(back.ok()) << c.what;
    EXPECT_EQ(back.error().code, c.code) << c.what << ": " << back.error().message;
  }
}

TEST(Messages, LimitsAreNamed) {
  MessageLimits limits;
  limits.frame_bytes = 4;
  const Result<SyncRequest> back = decode_request(encode_request(full_request()), limits);
  ASSERT_FALSE(back.ok());
  EXPECT_EQ(back.error().code, Code::too_large);
  EXPECT_NE(back.error().message.find("frame"), std::string::npos);
  EXPECT_NE(back.error().message.find("4"), std::string::npos);
  MessageLimits few;
  few.refused_rows = 0;
  EXPECT_EQ(decode_response(encode_response(full_response()), few).error().code, Code::too_large);
}

TEST(Messages, UnknownErrorNumbersBecomeInternal) {
  const Result<SyncResponse> back = decode_response(Bytes("\x08\x01\x3a\x03\x08\xe7\x07", 7));
  ASSERT_TRUE(back.ok()) << back.error().message;
  ASSERT_TRUE(back->error);
  EXPECT_EQ(back->error->code, Code::internal);
}

#ifdef REJOIN_HAVE_PROTOC
TEST(Messages, ProtocReadsAndWritesTheSame) {
  rejoin::v1::SyncRequest request;
  ASSERT_TRUE(request.ParseFromString(encode_request(full_request())));
  EXPECT_EQ(request.push().frame(), full_request().push->frame);
  EXPECT_EQ(request.hello().site(), some_site().view());
  EXPECT_EQ(request.pull().max_bytes(), 4096u);
  const Result<SyncRequest> back = decode_request(request.SerializeAsString());
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(*back, full_request());

  rejoin::v1::SyncResponse response;
  ASSERT_TRUE(response.ParseFromString(encode_response(full_response())));
  EXPECT_EQ(response.ack().refused(0).table(), "todos");
  EXPECT_EQ(response.ack().refused(0).server(), Bytes("RJC1\0row", 8));
  EXPECT_TRUE(request.pull().own());
  EXPECT_EQ(response.error().name(), "clock_ahead");
  EXPECT_EQ(response.now_ms(), 1'700'000'000'123);
  const Result<SyncResponse> again = decode_response(response.SerializeAsString());
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(encode_response(*again), encode_response(full_response()));
}
#endif

}  // namespace
}  // namespace rejoin::sync
