#include "server/cors.h"

#include <algorithm>

#include "net/url.h"

namespace rejoin::server {
namespace {

bool allowed(const std::vector<std::string>& origins, std::string_view origin) {
  return !origin.empty() && std::any_of(origins.begin(), origins.end(),
                                        [&](const std::string& one) { return one == "*" || one == origin; });
}

bool everyone(const std::vector<std::string>& origins) {
  return std::find(origins.begin(), origins.end(), "*") != origins.end();
}

}  // namespace

Status check_cors_origin(std::string_view origin) {
  if (origin == "*") return {};
  const Error wrong = fail(Code::bad_argument, "'" + std::string(origin.substr(0, 200)) +
                                                   "' is no origin as browsers send it; write scheme, host and port "
                                                   "only, like https://app.example.com or http://localhost:5173, or *");
  const size_t scheme = origin.find("://");
  if (scheme == std::string_view::npos || scheme == 0) return wrong;
  const std::string_view host = origin.substr(scheme + 3);
  if (host.empty() || host.find_first_of("/?#@ ,*\"'\\") != std::string_view::npos) return wrong;
  for (char c : origin)
    if ((c >= 'A' && c <= 'Z') || static_cast<unsigned char>(c) <= ' ' || static_cast<unsigned char>(c) >= 127)
      return wrong;
  const bool http = origin.starts_with("http://"), https = origin.starts_with("https://");
  if ((http && host.ends_with(":80")) || (https && host.ends_with(":443"))) return wrong;
  if ((http || https) && !net::parse_url(std::string(origin)).ok()) return wrong;
  return {};
}

void add_cors_headers(const std::vector<std::string>& origins, const net::HttpRequest& request,
                      net::HttpResponse& response) {
  if (origins.empty()) return;
  const bool all = everyone(origins);
  if (!all) response.headers.emplace_back("Vary", "Origin");
  const std::string_view origin = request.header("origin");
  if (!allowed(origins, origin)) return;
  response.headers.emplace_back("Access-Control-Allow-Origin", all ? "*" : std::string(origin));
  if (request.method != "OPTIONS")
    response.headers.emplace_back("Access-Control-Expose-Headers", "Retry-After, WWW-Authenticate, X-Request-Id");
}

bool is_allowed_origin(const std::vector<std::string>& origins, const net::HttpRequest& request) {
  const std::string_view origin = request.header("origin");
  return origin.empty() || allowed(origins, origin);
}

bool is_allowed_preflight(const std::vector<std::string>& origins, const net::HttpRequest& request) {
  return request.method == "OPTIONS" && !request.header("access-control-request-method").empty() &&
         allowed(origins, request.header("origin"));
}

net::HttpResponse preflight_response() {
  net::HttpResponse response;
  response.status = 204;
  response.headers = {{"Access-Control-Allow-Methods", "POST"},
                      {"Access-Control-Allow-Headers",
                       "Authorization, Content-Type, Content-Encoding, X-Request-Id, Traceparent, Tracestate"},
                      {"Access-Control-Max-Age", "600"},
                      {"Vary", "Access-Control-Request-Method, Access-Control-Request-Headers"}};
  return response;
}

}  // namespace rejoin::server
