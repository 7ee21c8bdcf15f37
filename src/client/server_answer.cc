#include "client/server_answer.h"

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <string>

namespace rejoin::client {

const char* client_version() {
#ifdef REJOIN_VERSION
  return "rejoin/" REJOIN_VERSION;
#else
  return "rejoin";
#endif
}

Error error_of_status(int status, const net::Url& url, const net::HttpReply& reply) {
  const std::string who = url.text() + " answered with HTTP status " + std::to_string(status);
  switch (status) {
    case 401:
      return fail(Code::unauthorized, who + ": it wants another way of signing in; check the address and the token");
    case 403:
      return fail(Code::forbidden, who + "; check the address and the token");
    case 404:
      return fail(Code::not_found, who + ": there is no Rejoin server at this address; check the path");
    case 408:
    case 504:
      return fail(Code::timeout, who + "; try again");
    case 413:
      return fail(Code::too_large, who + ": something between here and the server limits the size of bodies");
    case 429:
      return fail(Code::rate_limited, who + "; try again later");
    default:
      break;
  }
  if (status >= 300 && status < 400)
    return fail(Code::not_found, who + ", a redirect to '" + std::string(reply.header("location").substr(0, 200)) +
                                     "'; connect to that address instead");
  if (status >= 500)
    return fail(Code::network, who + "; try again, and look into the log of the server or of the proxy before it");
  return fail(Code::unsupported, who + " and no message of Rejoin's; is this the address of a Rejoin server?");
}

Error error_of_refusal(const net::Url& url, const net::HttpReply& reply) {
  boost::system::error_code failed;
  const boost::json::value document = boost::json::parse(reply.body, failed);
  if (!failed && document.is_object())
    if (const boost::json::value* error = document.get_object().if_contains("error"); error && error->is_object()) {
      const boost::json::value* code = error->get_object().if_contains("code");
      const boost::json::value* message = error->get_object().if_contains("message");
      if (code && message && code->is_int64() && message->is_string())
        if (const auto known = code_from_number(static_cast<uint64_t>(code->get_int64())); known && *known != Code::ok)
          return fail(*known, std::string(message->get_string().data(), message->get_string().size()));
    }
  return error_of_status(reply.status, url, reply);
}

}  // namespace rejoin::client
