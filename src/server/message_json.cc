#include "server/message_json.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <charconv>
#include <optional>

#include "server/base64.h"
#include "server/strict_json.h"

namespace rejoin::server {
namespace {

namespace json = boost::json;

// A request has fewer than twenty; the rest is room for fields that a later protocol adds.
constexpr size_t kMostRequestValues = 4096;

// Reads the fields of one message; the first complaint sticks.
class Fields {
 public:
  Fields(const json::value* value, const char* message, std::optional<Error>* error)
      : message_(message), error_(error) {
    if (!value) return;
    if (value->is_object())
      object_ = &value->get_object();
    else
      refuse("must be an object");
  }

  bool present() const { return object_ != nullptr; }

  const json::value* find(std::string_view name) const {
    if (!object_) return nullptr;
    const json::value* value = object_->if_contains(json::string_view(name.data(), name.size()));
    if (!value) {
      std::string camel;
      for (size_t i = 0; i < name.size(); ++i) camel += name[i] == '_' ? static_cast<char>(name[++i] - 32) : name[i];
      value = object_->if_contains(camel);
    }
    return value && !value->is_null() ? value : nullptr;
  }

  std::string text(std::string_view name, uint64_t limit) {
    const json::value* value = find(name);
    if (!value) return {};
    if (!value->is_string()) return refuse(name, "must be a string"), std::string();
    if (value->get_string().size() > limit) return too_large(name, limit), std::string();
    return std::string(value->get_string().data(), value->get_string().size());
  }

  Bytes bytes(std::string_view name, uint64_t limit) {
    const json::value* value = find(name);
    if (!value) return {};
    if (!value->is_string()) return refuse(name, "must be a string in base64"), Bytes();
    const json::string& text = value->get_string();
    if (text.size() / 4 * 3 > limit + 2) return too_large(name, limit), Bytes();
    std::optional<Bytes> out = from_base64(std::string_view(text.data(), text.size()));
    if (!out) return refuse(name, "is not base64 with padding"), Bytes();
    if (out->size() > limit) return too_large(name, limit), Bytes();
    return std::move(*out);
  }

  uint64_t number(std::string_view name) {
    const json::value* value = find(name);
    if (!value) return 0;
    if (value->is_int64() && value->get_int64() >= 0) return static_cast<uint64_t>(value->get_int64());
    if (value->is_uint64()) return value->get_uint64();
    if (value->is_string()) {
      const json::string& text = value->get_string();
      uint64_t out = 0;
      auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
      if (error == std::errc() && end == text.data() + text.size() && !text.empty()) return out;
    }
    return refuse(name, "must be a whole number that is not negative"), 0;
  }

  int64_t signed_number(std::string_view name) {
    const uint64_t v = number(name);
    if (v > static_cast<uint64_t>(INT64_MAX)) return refuse(name, "must be below 2 to the 63rd"), 0;
    return static_cast<int64_t>(v);
  }

  bool flag(std::string_view name) {
    const json::value* value = find(name);
    if (!value) return false;
    if (!value->is_bool()) return refuse(name, "must be true or false"), false;
    return value->get_bool();
  }

  const json::array* list(std::string_view name) {
    const json::value* value = find(name);
    if (!value) return nullptr;
    if (!value->is_array()) return refuse(name, "must be an array"), nullptr;
    return &value->get_array();
  }

 private:
  void refuse(std::string_view why) {
    if (!*error_) *error_ = fail(Code::corrupt, std::string(message_) + " " + std::string(why));
  }
  void refuse(std::string_view name, std::string_view why) {
    if (!*error_)
      *error_ = fail(Code::corrupt, std::string(message_) + "." + std::string(name) + " " + std::string(why));
  }
  void too_large(std::string_view name, uint64_t limit) {
    if (!*error_)
      *error_ = fail(Code::too_large, std::string(message_) + "." + std::string(name) + " has more than " +
                                          std::to_string(limit) + " bytes, which is the limit");
  }

  const char* message_;
  std::optional<Error>* error_;
  const json::object* object_ = nullptr;
};

Code code_of(uint64_t number) {
  const Code code = code_from_number(number).value_or(Code::internal);
  return code == Code::ok ? Code::internal : code;
}

void put_bytes(json::object& out, const char* name, BytesView bytes) {
  if (!bytes.empty()) out[name] = base64(bytes);
}
void put_text(json::object& out, const char* name, std::string_view text) {
  if (!text.empty()) out[name] = json::string_view(text.data(), text.size());
}

std::vector<sync::EvictedRows> evicted_of(const json::array* list, const sync::MessageLimits& limits,
                                          std::optional<Error>* error) {
  std::vector<sync::EvictedRows> out;
  if (!list) return out;
  for (const json::value& item : *list) {
    Fields one(&item, "evicted", error);
    sync::EvictedRows rows{one.text("table", limits.name_bytes), one.flag("all"), {}, one.number("horizon")};
    if (const json::array* keys = one.list("keys"))
      for (const json::value& text : *keys) {
        const json::object holder{{"key", text}};
        const json::value value(holder);
        rows.keys.push_back(Fields(&value, "evicted", error).bytes("key", limits.cursor_bytes));
      }
    out.push_back(std::move(rows));
  }
  return out;
}

json::object error_object(Code code, const std::string& message, uint64_t retry_after_ms) {
  json::object out;
  out["code"] = static_cast<uint64_t>(code);
  const std::string_view name = code_name(code);
  out["name"] = json::string_view(name.data(), name.size());
  out["message"] = message;
  if (retry_after_ms) out["retry_after_ms"] = retry_after_ms;
  return out;
}

Status protocol_of(Fields& top, std::optional<Error>& error, uint32_t& out) {
  if (error) return *error;
  if (!top.find("protocol"))
    return fail(Code::corrupt, "the request has no protocol number; this server speaks \"protocol\": 1");
  const uint64_t protocol = top.number("protocol");
  if (error) return *error;
  out = protocol > 0xffffffff ? 0xffffffff : static_cast<uint32_t>(protocol);
  return {};
}

Result<sync::SyncRequest> request_of(const json::value& value, const sync::MessageLimits& limits) {
  std::optional<Error> error;
  sync::SyncRequest request;
  Fields top(&value, "the request", &error);
  REJOIN_TRY(protocol_of(top, error, request.protocol));
  if (request.protocol != sync::kProtocol) return sync::check_request(request, limits).error();

  Fields hello(top.find("hello"), "hello", &error);
  const Bytes site = hello.bytes("site", 16);
  if (!error && site.size() != 16) return fail(Code::corrupt, "hello.site must be 16 bytes in base64");
  if (!error) request.hello.site = crdt::SiteId::from(site);
  request.hello.contract_fingerprint = hello.text("contract_fingerprint", limits.token_bytes);
  request.hello.contract_json = hello.text("contract_json", limits.contract_bytes);
  request.hello.client_version = hello.text("client_version", limits.name_bytes);
  if (Fields push(top.find("push"), "push", &error); push.present())
    request.push = sync::Push{push.bytes("chain_token", limits.token_bytes), push.bytes("nonce", limits.token_bytes),
                              push.bytes("frame", limits.frame_bytes)};
  if (Fields pull(top.find("pull"), "pull", &error); pull.present())
    request.pull = sync::Pull{pull.bytes("cursor", limits.cursor_bytes), pull.number("max_bytes"),
                              pull.bytes("chain_token", limits.token_bytes), pull.flag("own"), pull.flag("unpushed")};
  if (error) return *error;
  REJOIN_TRY(sync::check_request(request, limits));
  return request;
}

sync::AppMessage message_of(Fields& fields) {
  return {fields.text("topic", sync::kMostTopicBytes), fields.bytes("data", sync::kMostAppBytes), {}};
}

}  // namespace

Result<sync::SyncRequest> request_from_json(std::string_view text, const sync::MessageLimits& limits) {
  REJOIN_ASSIGN(const json::value value, parse_strict_json(text, 16, kMostRequestValues));
  return request_of(value, limits);
}

Result<sync::LiveRequest> live_request_from_json(std::string_view text, const sync::MessageLimits& limits) {
  REJOIN_ASSIGN(const json::value value, parse_strict_json(text, 16, kMostRequestValues));
  std::optional<Error> error;
  sync::LiveRequest request;
  Fields top(&value, "the request", &error);
  REJOIN_TRY(protocol_of(top, error, request.protocol));
  if (request.protocol != sync::kProtocol) return sync::check_live_request(request, limits).error();
  if (const json::value* inner = top.find("sync")) {
    REJOIN_ASSIGN(request.sync, request_of(*inner, limits));
  }
  request.token = top.text("token", limits.text_bytes);
  if (Fields listen(top.find("listen"), "listen", &error); listen.present()) {
    request.listen.emplace();
    if (const json::array* topics = listen.list("topics"))
      for (const json::value& topic : *topics) {
        if (!topic.is_string()) return fail(Code::corrupt, "listen.topics must be strings");
        request.listen->emplace_back(topic.get_string().data(), topic.get_string().size());
      }
  }
  if (Fields message(top.find("message"), "message", &error); message.present()) request.message = message_of(message);
  if (error) return *error;
  REJOIN_TRY(sync::check_live_request(request, limits));
  return request;
}

std::string live_event_to_json(const sync::LiveEvent& event) {
  // What is JSON already goes in as it is.
  std::string out = "{\"protocol\":" + std::to_string(event.protocol);
  if (event.response) out += ",\"response\":" + *event.response;
  if (event.page) out += ",\"page\":" + *event.page;
  if (event.message) {
    json::object message;
    put_text(message, "topic", event.message->topic);
    put_bytes(message, "data", event.message->data);
    put_text(message, "from", event.message->from);
    out += ",\"message\":" + json::serialize(message);
  }
  if (event.expires_in_ms) out += ",\"expires_in_ms\":" + std::to_string(event.expires_in_ms);
  if (event.error)
    out += ",\"error\":" +
           json::serialize(error_object(event.error->code, event.error->message, event.error->retry_after_ms));
  return out + "}";
}

Result<sync::SyncResponse> response_from_json(std::string_view text, const sync::MessageLimits& limits) {
  REJOIN_ASSIGN(const json::value value, parse_strict_json(text));
  std::optional<Error> error;
  sync::SyncResponse response;
  Fields top(&value, "the response", &error);
  response.protocol = static_cast<uint32_t>(top.number("protocol"));
  if (!error && response.protocol != sync::kProtocol)
    return fail(Code::unsupported, "the response is of another protocol version");
  response.facts.now_ms = top.signed_number("now_ms");
  Fields facts(top.find("facts"), "facts", &error);
  response.facts.may_relay = facts.flag("may_relay");
  response.facts.max_frame_bytes = facts.number("max_frame_bytes");
  response.facts.max_value_bytes = facts.number("max_value_bytes");
  response.facts.schema = facts.text("schema", limits.token_bytes);
  response.need_contract = top.flag("need_contract");
  if (Fields ack(top.find("ack"), "ack", &error); ack.present()) {
    sync::Ack& out = response.ack.emplace();
    out.nonce = ack.bytes("nonce", limits.token_bytes);
    out.next_chain_token = ack.bytes("next_chain_token", limits.token_bytes);
    out.rows = ack.number("rows");
    if (const json::array* rows = ack.list("refused"))
      for (const json::value& item : *rows) {
        Fields row(&item, "refused", &error);
        out.refused.push_back({row.text("table", limits.name_bytes), row.bytes("key", limits.cursor_bytes),
                               row.text("key_json", limits.cursor_bytes), code_of(row.number("code")),
                               row.text("reason", limits.text_bytes), row.bytes("server", limits.frame_bytes)});
      }
  }
  if (Fields page(top.find("page"), "page", &error); page.present())
    response.page = sync::PageMessage{page.bytes("frame", limits.frame_bytes),
                                      page.bytes("next_cursor", limits.cursor_bytes),
                                      page.flag("more"),
                                      page.flag("restarted"),
                                      page.number("rows"),
                                      evicted_of(page.list("evicted"), limits, &error)};
  if (Fields wrong(top.find("error"), "error", &error); wrong.present())
    response.error = sync::WireError{code_of(wrong.number("code")), wrong.text("message", limits.text_bytes),
                                     wrong.number("retry_after_ms")};
  if (Fields restored(top.find("restored"), "restored", &error); restored.present()) {
    sync::Restored& out = response.restored.emplace();
    out.through = restored.number("through");
    if (const json::array* sites = restored.list("site"))
      for (const json::value& item : *sites) {
        const json::object holder{{"site", item}};
        const json::value one(holder);
        const Bytes site = Fields(&one, "restored", &error).bytes("site", 16);
        if (error) return *error;
        if (site.size() != 16) return fail(Code::corrupt, "restored.site must be 16 bytes in base64");
        out.sites.push_back(crdt::SiteId::from(site));
      }
  }
  if (error) return *error;
  return response;
}

std::string request_to_json(const sync::SyncRequest& request) {
  json::object out;
  out["protocol"] = request.protocol;
  json::object hello;
  put_bytes(hello, "site", request.hello.site.view());
  put_text(hello, "contract_fingerprint", request.hello.contract_fingerprint);
  put_text(hello, "contract_json", request.hello.contract_json);
  put_text(hello, "client_version", request.hello.client_version);
  out["hello"] = std::move(hello);
  if (request.push) {
    json::object push;
    put_bytes(push, "chain_token", request.push->chain_token);
    put_bytes(push, "nonce", request.push->nonce);
    put_bytes(push, "frame", request.push->frame);
    out["push"] = std::move(push);
  }
  if (request.pull) {
    json::object pull;
    put_bytes(pull, "cursor", request.pull->cursor);
    if (request.pull->max_bytes) pull["max_bytes"] = request.pull->max_bytes;
    put_bytes(pull, "chain_token", request.pull->chain_token);
    if (request.pull->own) pull["own"] = true;
    if (request.pull->unpushed) pull["unpushed"] = true;
    out["pull"] = std::move(pull);
  }
  return json::serialize(out);
}

std::string response_to_json(const sync::SyncResponse& response) {
  json::object out;
  out["protocol"] = response.protocol;
  if (response.facts.now_ms) out["now_ms"] = response.facts.now_ms;
  json::object facts;
  facts["may_relay"] = response.facts.may_relay;
  facts["max_frame_bytes"] = response.facts.max_frame_bytes;
  facts["max_value_bytes"] = response.facts.max_value_bytes;
  put_text(facts, "schema", response.facts.schema);
  out["facts"] = std::move(facts);
  if (response.need_contract) out["need_contract"] = true;
  if (response.ack) {
    json::object ack;
    put_bytes(ack, "nonce", response.ack->nonce);
    put_bytes(ack, "next_chain_token", response.ack->next_chain_token);
    ack["rows"] = response.ack->rows;
    json::array refused;
    for (const sync::RefusedRow& row : response.ack->refused) {
      json::object one;
      put_text(one, "table", row.table);
      put_bytes(one, "key", row.key);
      put_text(one, "key_json", row.key_json);
      one["code"] = static_cast<uint64_t>(row.code);
      put_text(one, "reason", row.reason);
      put_bytes(one, "server", row.server);
      refused.push_back(std::move(one));
    }
    if (!refused.empty()) ack["refused"] = std::move(refused);
    out["ack"] = std::move(ack);
  }
  if (response.page) {
    json::object page;
    put_bytes(page, "frame", response.page->frame);
    put_bytes(page, "next_cursor", response.page->next_cursor);
    page["more"] = response.page->more;
    if (response.page->restarted) page["restarted"] = true;
    page["rows"] = response.page->rows;
    json::array evicted;
    for (const sync::EvictedRows& rows : response.page->evicted) {
      json::object one;
      put_text(one, "table", rows.table);
      if (rows.all) one["all"] = true;
      json::array keys;
      for (const Bytes& key : rows.keys) keys.emplace_back(base64(key));
      if (!keys.empty()) one["keys"] = std::move(keys);
      if (rows.horizon != 0) one["horizon"] = std::to_string(rows.horizon);
      evicted.push_back(std::move(one));
    }
    if (!evicted.empty()) page["evicted"] = std::move(evicted);
    out["page"] = std::move(page);
  }
  if (response.error)
    out["error"] = error_object(response.error->code, response.error->message, response.error->retry_after_ms);
  if (response.restored) {
    json::object restored;
    json::array sites;
    for (const crdt::SiteId& site : response.restored->sites) sites.emplace_back(base64(site.view()));
    if (!sites.empty()) restored["site"] = std::move(sites);
    if (response.restored->through) restored["through"] = response.restored->through;
    out["restored"] = std::move(restored);
  }
  return json::serialize(out);
}

std::string error_to_json(const Error& error, int64_t retry_after_ms) {
  json::object out;
  out["error"] =
      error_object(error.code, error.message, static_cast<uint64_t>(retry_after_ms > 0 ? retry_after_ms : 0));
  return json::serialize(out);
}

}  // namespace rejoin::server
