#include "net/url.h"

#include <gtest/gtest.h>

namespace rejoin::net {
namespace {

TEST(UrlTest, ReadsWhatPeopleWrite) {
  const Url plain = *parse_url("http://Example.com");
  EXPECT_EQ(plain, (Url{false, "example.com", 80, ""}));
  EXPECT_EQ(plain.text(), "http://example.com");
  EXPECT_EQ(*parse_url("https://sync.example.com/a/b/"), (Url{true, "sync.example.com", 443, "/a/b"}));
  EXPECT_EQ(*parse_url("http://127.0.0.1:8080/"), (Url{false, "127.0.0.1", 8080, ""}));
  const Url six = *parse_url("http://[::1]:99");
  EXPECT_EQ(six, (Url{false, "::1", 99, ""}));
  EXPECT_EQ(six.authority(), "[::1]:99");
}

TEST(UrlTest, RefusesTheRestWithAReason) {
  for (const char* bad : {"",
                          "example.com",
                          "ftp://a",
                          "http://",
                          "http:///x",
                          "http://a:0",
                          "http://a:65536",
                          "http://a:8x",
                          "http://a:",
                          "http://u@a",
                          "http://u:p@a",
                          "http://a?q",
                          "http://a/#f",
                          "http://a b",
                          "http://[::1",
                          "http://[a",
                          "http://[1]",
                          "http://a/b c",
                          "http://a\r\nHost: b",
                          "HTTP://a",
                          "http://a/\x01"}) {
    const Result<Url> url = parse_url(bad);
    ASSERT_FALSE(url.ok()) << bad;
    EXPECT_EQ(url.error().code, Code::bad_argument) << bad;
  }
}

TEST(UrlTest, Loopback) {
  for (const char* yes : {"localhost", "127.0.0.1", "127.9.9.9", "::1"}) EXPECT_TRUE(is_loopback_host(yes)) << yes;
  for (const char* no : {"0.0.0.0", "::", "127.0.0.1.evil.com", "128.0.0.1", "example.com", ""})
    EXPECT_FALSE(is_loopback_host(no)) << no;
}

}  // namespace
}  // namespace rejoin::net
