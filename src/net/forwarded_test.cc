// A proxy is believed only if it was named, and only about the hop before it.
#include "net/forwarded.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace rejoin::net {
namespace {

std::vector<Cidr> ranges(std::initializer_list<const char*> texts) {
  std::vector<Cidr> out;
  for (const char* text : texts) {
    const auto cidr = parse_cidr(text);
    EXPECT_TRUE(cidr.ok()) << text;
    if (cidr.ok()) out.push_back(*cidr);
  }
  return out;
}

std::string seen(const std::string& peer, const HttpHeaders& headers, const std::vector<Cidr>& trusted) {
  const Origin origin = origin_of(peer, false, headers, trusted);
  return origin.address + (origin.https ? " https" : "") + (origin.loopback ? " loopback" : "");
}

TEST(Forwarded, RangesOfAddresses) {
  for (const char* text : {"0.0.0.0/0", "10.0.0.0/8", "192.0.2.7", "192.0.2.7/32", "::/0", "2001:db8::/32", "::1"})
    EXPECT_TRUE(parse_cidr(text).ok()) << text;
  for (const char* text : {"", "10.0.0.0/33", "10.0.0.1/8", "10.0.0/8", "2001:db8::/129", "2001:db8::1/32", "/8",
                           "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8 ", "example.com", "10.0.0.0/8/8"})
    EXPECT_FALSE(parse_cidr(text).ok()) << text;
}

TEST(Forwarded, NobodyIsBelievedUnlessNamed) {
  const HttpHeaders headers = {{"x-forwarded-for", "203.0.113.9"}, {"x-forwarded-proto", "https"}};
  EXPECT_EQ(seen("198.51.100.1", headers, {}), "198.51.100.1");
  EXPECT_EQ(seen("198.51.100.1", headers, ranges({"10.0.0.0/8"})), "198.51.100.1");
  EXPECT_EQ(seen("127.0.0.1", headers, {}), "127.0.0.1 loopback");
  EXPECT_EQ(seen("127.0.0.1", headers, ranges({"127.0.0.1"})), "203.0.113.9 https");
  EXPECT_EQ(seen("::ffff:127.0.0.1", headers, ranges({"127.0.0.0/8"})), "203.0.113.9 https");
  EXPECT_EQ(seen("::ffff:127.0.0.1", {}, {}), "127.0.0.1 loopback");
}

TEST(Forwarded, TheNearestThatIsNotAProxyIsTheOne) {
  const auto trusted = ranges({"10.0.0.0/8", "2001:db8::/32"});
  // What a client wrote itself stands on the left.
  EXPECT_EQ(seen("10.0.0.1", {{"x-forwarded-for", "1.1.1.1, 203.0.113.9, 10.0.0.2"}}, trusted), "203.0.113.9");
  EXPECT_EQ(seen("10.0.0.1", {{"x-forwarded-for", "203.0.113.9"}, {"x-forwarded-for", "10.0.0.2"}}, trusted),
            "203.0.113.9");
  EXPECT_EQ(seen("10.0.0.1", {{"x-forwarded-for", "10.0.0.3,10.0.0.2"}}, trusted), "10.0.0.3");
  EXPECT_EQ(seen("2001:db8::7", {{"x-forwarded-for", "[2001:4860::1]:443"}}, trusted), "2001:4860::1");
  EXPECT_EQ(seen("10.0.0.1", {{"x-forwarded-for", "203.0.113.9:1234"}}, trusted), "203.0.113.9");
  EXPECT_EQ(seen("10.0.0.1", {{"x-forwarded-for", "203.0.113.9, unknown"}}, trusted), "10.0.0.1");
  EXPECT_EQ(seen("10.0.0.1", {{"x-forwarded-for", "203.0.113.9, , 10.0.0.2"}}, trusted), "10.0.0.2");
  for (const char* text : {"", ",", "[", "[]", "]", ":", "::::", "x\xff"})
    EXPECT_EQ(seen("10.0.0.1", {{"x-forwarded-for", text}}, trusted), "10.0.0.1") << text;
}

TEST(Forwarded, TheSchemeIsTheNearestProxys) {
  const auto trusted = ranges({"10.0.0.0/8"});
  EXPECT_FALSE(origin_of("10.0.0.1", false, {{"x-forwarded-proto", "https, http"}}, trusted).https);
  EXPECT_TRUE(origin_of("10.0.0.1", false, {{"x-forwarded-proto", "http,https"}}, trusted).https);
  EXPECT_TRUE(origin_of("10.0.0.1", true, {}, trusted).https);
  EXPECT_TRUE(origin_of("203.0.113.9", true, {{"x-forwarded-proto", "http"}}, trusted).https);
}

}  // namespace
}  // namespace rejoin::net
