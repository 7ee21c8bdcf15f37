// Which web pages' scripts may call the sync route from a browser (Fetch standard, "HTTP extensions").
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/http_server.h"

namespace rejoin::server {

// "https://app.example.com", "http://localhost:5173", or "*" for all. Errors: bad_argument for anything a browser would
// not send in just this form: a path, a slash at the end, capitals, a default port.
Status check_cors_origin(std::string_view origin);

// Adds what a browser has to know to an answer of the sync route; nothing if `origins` is empty, nothing but Vary for
// an origin that is not in it. Credentials (cookies) are never allowed: tokens come in a header.
void add_cors_headers(const std::vector<std::string>& origins, const net::HttpRequest& request,
                      net::HttpResponse& response);

// May a page of the request's origin connect to a WebSocket here? Callers that are no pages send no origin, and may.
bool is_allowed_origin(const std::vector<std::string>& origins, const net::HttpRequest& request);

// Is this the question of a browser, and one that is answered with yes?
bool is_allowed_preflight(const std::vector<std::string>& origins, const net::HttpRequest& request);
net::HttpResponse preflight_response();

}  // namespace rejoin::server
