#include "client/server_contract.h"

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include "client/server_answer.h"
#include "contract/contract.h"

namespace rejoin::client {
namespace {

Result<net::HttpReply> call(net::HttpClient& client, const char* method, const std::string& token, BytesView body) {
  for (char c : token)
    if (c <= ' ' || c == 0x7f)
      return fail(Code::bad_argument, "the access token has a space or a control character in it; copy it anew");
  net::HttpCall call;
  call.method = method;
  call.path = "/v1/contract";
  call.headers = {{"Accept", "application/json"}, {"User-Agent", client_version()}};
  if (!token.empty()) call.headers.emplace_back("Authorization", "Bearer " + token);
  if (!body.empty()) call.headers.emplace_back("Content-Type", "application/json");
  call.body = body;
  return client.send(call);
}

Result<ServerContract> read(const net::Url& url, const net::HttpReply& reply) {
  if (reply.status != 200) return error_of_refusal(url, reply);
  const Error other = fail(Code::unsupported, url.text() +
                                                  " answered with something that is no contract; is this the "
                                                  "address of a Rejoin server?");
  boost::system::error_code failed;
  const boost::json::value document = boost::json::parse(reply.body, failed);
  if (failed || !document.is_object()) return other;
  const boost::json::value* contract = document.get_object().if_contains("contract");
  const boost::json::value* published = document.get_object().if_contains("published");
  if (!contract || !published || !published->is_bool()) return other;
  REJOIN_ASSIGN(const contract::Contract parsed, contract::from_json(boost::json::serialize(*contract)));
  return ServerContract{contract::to_json(parsed), contract::fingerprint(parsed), published->get_bool()};
}

}  // namespace

Result<ServerContract> get_contract(net::HttpClient& client, const std::string& token) {
  REJOIN_ASSIGN(const net::HttpReply reply, call(client, "GET", token, {}));
  return read(client.url(), reply);
}

Result<ServerContract> put_contract(net::HttpClient& client, const std::string& token, const std::string& json) {
  REJOIN_ASSIGN(const net::HttpReply reply, call(client, "PUT", token, json));
  return read(client.url(), reply);
}

Result<int64_t> follow_contract(sqlite::Replica& replica, net::HttpClient& client, const std::string& token) {
  REJOIN_ASSIGN(const net::HttpReply reply, call(client, "GET", token, {}));
  if (reply.status == 404) return int64_t{0};  // an older server
  REJOIN_ASSIGN(const ServerContract contract, read(client.url(), reply));
  if (!contract.published) return int64_t{0};
  return replica.migrate(contract.json);
}

}  // namespace rejoin::client
