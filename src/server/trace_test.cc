// A trace is believed only in the form that the standard gives it.
#include "server/trace.h"

#include <gtest/gtest.h>

#include <string>

namespace rejoin::server {
namespace {

const std::string kTrace = "0af7651916cd43dd8448eb211c80319c", kSpan = "b7ad6b7169203331";

TEST(TraceParent, TheStandardsExample) {
  const auto parent = parse_traceparent("00-" + kTrace + "-" + kSpan + "-01");
  ASSERT_TRUE(parent);
  EXPECT_EQ(parent->trace_id, kTrace);
  EXPECT_EQ(parent->span_id, kSpan);
  EXPECT_TRUE(parse_traceparent("cc-" + kTrace + "-" + kSpan + "-01-what-comes-later"));
  EXPECT_TRUE(parse_traceparent("cc-" + kTrace + "-" + kSpan + "-01"));
}

TEST(TraceParent, NothingElse) {
  for (const std::string& text :
       {std::string(), std::string("00"), "ff-" + kTrace + "-" + kSpan + "-01",
        "00-" + std::string(32, '0') + "-" + kSpan + "-01", "00-" + kTrace + "-" + std::string(16, '0') + "-01",
        "00-0AF7651916cd43dd8448eb211c80319c-" + kSpan + "-01", "00-" + kTrace + "-" + kSpan + "-0",
        "00-" + kTrace + "-" + kSpan + "-01-more", "00-" + kTrace + "-" + kSpan + "-0x",
        "00_" + kTrace + "-" + kSpan + "-01", "cc-" + kTrace + "-" + kSpan + "-01more",
        "0g-" + kTrace + "-" + kSpan + "-01", std::string(55, '-'), std::string(10'000, 'a')})
    EXPECT_FALSE(parse_traceparent(text)) << text;
}

}  // namespace
}  // namespace rejoin::server
