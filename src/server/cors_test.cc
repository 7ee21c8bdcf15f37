// Pages of the origins that were named may sync, and no others.
#include "server/cors.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace rejoin::server {
namespace {

std::string headers_for(const std::vector<std::string>& origins, const std::string& origin) {
  net::HttpRequest request;
  request.method = "POST";
  if (!origin.empty()) request.headers.emplace_back("origin", origin);
  net::HttpResponse response;
  add_cors_headers(origins, request, response);
  std::string out;
  for (const auto& [name, value] : response.headers) out += name + ": " + value + "\n";
  return out;
}

TEST(Cors, OriginsAsBrowsersSendThem) {
  for (const char* good : {"*", "https://app.example.com", "http://localhost:5173", "https://[2001:db8::1]:8443",
                           "capacitor://localhost", "http://192.0.2.1"})
    EXPECT_TRUE(check_cors_origin(good).ok()) << good;
  for (const char* bad : {"", "null", "app.example.com", "https://", "https://app.example.com/", "https://a/b",
                          "https://A", "https://a:443", "http://a:80", "https://*.example.com", "https://a b",
                          "https://u@a", "://a", "https://a, https://b", "https://a?x", "https://\xc3\xa4"})
    EXPECT_FALSE(check_cors_origin(bad).ok()) << bad;
}

TEST(Cors, OnlyTheOriginsThatWereNamed) {
  const std::vector<std::string> two = {"https://a", "https://b"};
  EXPECT_EQ(headers_for({}, "https://a"), "");
  EXPECT_EQ(headers_for(two, ""), "Vary: Origin\n");
  for (const char* other : {"https://c", "https://a.evil", "http://a", "https://A", "null", "https://a,https://b"})
    EXPECT_EQ(headers_for(two, other), "Vary: Origin\n") << other;
  EXPECT_EQ(headers_for(two, "https://b"),
            "Vary: Origin\nAccess-Control-Allow-Origin: https://b\n"
            "Access-Control-Expose-Headers: Retry-After, WWW-Authenticate, X-Request-Id\n");
  EXPECT_TRUE(headers_for({"*"}, "https://c").starts_with("Access-Control-Allow-Origin: *\n"));
  EXPECT_EQ(headers_for({"*"}, "https://c").find("Credentials"), std::string::npos);
}

TEST(Cors, APreflightIsAQuestionAboutAMethod) {
  net::HttpRequest request;
  request.method = "OPTIONS";
  request.headers = {{"origin", "https://a"}};
  EXPECT_FALSE(is_allowed_preflight({"https://a"}, request));
  request.headers.emplace_back("access-control-request-method", "POST");
  EXPECT_TRUE(is_allowed_preflight({"https://a"}, request));
  EXPECT_FALSE(is_allowed_preflight({"https://b"}, request));
  EXPECT_FALSE(is_allowed_preflight({}, request));
  request.method = "POST";
  EXPECT_FALSE(is_allowed_preflight({"https://a"}, request));
}

}  // namespace
}  // namespace rejoin::server
