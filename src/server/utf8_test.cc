// Peers' bytes reach JSON, logs and protobuf strings as well-formed UTF-8 only.
#include "server/utf8.h"

#include <gtest/gtest.h>

namespace rejoin::server {
namespace {

TEST(Utf8, WellFormedTextStaysAsItIs) {
  const std::string text("a\0\x7f\xc2\x80\xed\x9f\xbf\xee\x80\x80\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 19);
  EXPECT_TRUE(valid_utf8(text));
  EXPECT_EQ(clean_utf8(text), text);
}

TEST(Utf8, EveryMalformedByteIsReplaced) {
  const std::string bad = "\xef\xbf\xbd";
  EXPECT_EQ(clean_utf8("a\xff"
                       "b"),
            "a" + bad + "b");
  EXPECT_EQ(clean_utf8("\xc0\xaf"), bad + bad);                      // an overlong slash
  EXPECT_EQ(clean_utf8("\xed\xa0\x80"), bad + bad + bad);            // a surrogate
  EXPECT_EQ(clean_utf8("\xf4\x90\x80\x80"), bad + bad + bad + bad);  // above U+10FFFF
  EXPECT_EQ(clean_utf8("\xe2\x82"), bad + bad);                      // cut short
  for (int byte = 0x80; byte < 0x100; ++byte) {
    const std::string lone(1, static_cast<char>(byte));
    EXPECT_FALSE(valid_utf8(lone)) << byte;
    EXPECT_TRUE(valid_utf8(clean_utf8(lone))) << byte;
  }
}

}  // namespace
}  // namespace rejoin::server
