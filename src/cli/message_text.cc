#include "cli/message_text.h"

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>

#include "base/clock.h"
#include "cli/terminal.h"
#include "cli/units.h"
#include "codec/print.h"

namespace rejoin::cli {
namespace {

namespace json = boost::json;

// Lines of "name  value", indented below a heading.
class Lines {
 public:
  explicit Lines(std::string heading) : text_(std::move(heading) + "\n") {}
  void add(std::string_view name, const std::string& value) {
    text_ += "  " + std::string(name) + std::string(name.size() < 16 ? 16 - name.size() : 1, ' ') + value + "\n";
  }
  void add_frame(BytesView frame) {
    add("frame", bytes_text(frame.size()));
    std::string inner = codec::changeset_text(frame);
    for (size_t at = 0; at < inner.size();) {
      size_t end = std::min(inner.find('\n', at), inner.size());
      text_ += "    " + inner.substr(at, end - at) + "\n";
      at = end + 1;
    }
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

std::string token_text(BytesView bytes) { return bytes.empty() ? "(none)" : to_hex(bytes); }

std::string position_text(BytesView cursor) {
  if (cursor.empty()) return "(the beginning)";
  std::optional<codec::Cursor> decoded = codec::decode_cursor(cursor);
  return decoded ? cursor_text(*decoded) : "(opaque) " + to_hex(cursor);
}

json::value position_json(BytesView cursor) {
  std::optional<codec::Cursor> decoded = codec::decode_cursor(cursor);
  if (cursor.empty() || !decoded) return {{"hex", to_hex(cursor)}};
  return cursor_json(*decoded);
}

json::value frame_json(BytesView frame) {
  if (frame.empty()) return nullptr;
  boost::system::error_code error;
  json::value parsed = json::parse(codec::changeset_json(frame), error);
  return error ? json::value({{"hex", to_hex(frame)}}) : parsed;
}

std::string yes_no(bool v) { return v ? "yes" : "no"; }

}  // namespace

std::string cursor_text(const codec::Cursor& cursor) {
  std::string token = "token " + std::to_string(cursor.token);
  if (!cursor.scanning) return "log position " + std::to_string(cursor.position) + ", " + token;
  return "scan since log position " + std::to_string(cursor.position) + ", " + token + ", horizon " +
         std::to_string(cursor.horizon) + ", after table " + std::to_string(cursor.table) + " key " +
         (cursor.key.empty() ? "(none)" : to_hex(cursor.key));
}

json::object cursor_json(const codec::Cursor& cursor) {
  json::object out{{"scanning", cursor.scanning}, {"position", cursor.position}, {"token", cursor.token}};
  if (cursor.scanning) out["horizon"] = cursor.horizon, out["table"] = cursor.table, out["key"] = to_hex(cursor.key);
  return out;
}

std::string request_text(const sync::SyncRequest& request) {
  Lines lines("sync request, protocol " + std::to_string(request.protocol));
  lines.add("site", to_hex(request.hello.site.view()));
  lines.add("client", printable(request.hello.client_version));
  lines.add("contract",
            request.hello.contract_fingerprint.empty() ? "(none)" : printable(request.hello.contract_fingerprint));
  if (!request.hello.contract_json.empty()) lines.add("contract text", printable(request.hello.contract_json));
  if (request.pull) {
    lines.add("pull from", position_text(request.pull->cursor));
    lines.add("pull at most",
              request.pull->max_bytes == 0 ? "(as the server likes)" : bytes_text(request.pull->max_bytes));
  } else {
    lines.add("pull", "(nothing)");
  }
  if (request.push) {
    lines.add("chain token", token_text(request.push->chain_token));
    lines.add("nonce", token_text(request.push->nonce));
    lines.add_frame(request.push->frame);
  } else {
    lines.add("push", "(nothing)");
  }
  return lines.text();
}

json::object request_json(const sync::SyncRequest& request) {
  json::object out{{"protocol", request.protocol},
                   {"hello",
                    {{"site", to_hex(request.hello.site.view())},
                     {"contract_fingerprint", request.hello.contract_fingerprint},
                     {"contract_json", request.hello.contract_json},
                     {"client_version", request.hello.client_version}}}};
  if (request.push)
    out["push"] = {{"chain_token", to_hex(request.push->chain_token)},
                   {"nonce", to_hex(request.push->nonce)},
                   {"frame", frame_json(request.push->frame)}};
  if (request.pull)
    out["pull"] = {{"cursor", position_json(request.pull->cursor)}, {"max_bytes", request.pull->max_bytes}};
  return out;
}

std::string response_text(const sync::SyncResponse& response) {
  Lines lines("sync response, protocol " + std::to_string(response.protocol));
  lines.add("server's clock", iso8601(response.facts.now_ms));
  lines.add("may relay", yes_no(response.facts.may_relay));
  lines.add("largest frame", bytes_text(response.facts.max_frame_bytes));
  lines.add("largest value", bytes_text(response.facts.max_value_bytes));
  lines.add("server's tables", response.facts.schema.empty() ? "(not said)" : response.facts.schema);
  if (response.need_contract) lines.add("wants", "the contract");
  if (response.error) {
    lines.add("error", std::string(code_name(response.error->code)) + ": " + printable(response.error->message));
    if (response.error->retry_after_ms > 0)
      lines.add("try again in", duration_text(static_cast<int64_t>(response.error->retry_after_ms)));
  }
  if (response.restored) {
    for (const crdt::SiteId& site : response.restored->sites) lines.add("is the site", to_hex(site.view()));
    lines.add("has of its own what is until",
              response.restored->through == 0 ? "(not said)" : iso8601(crdt::ms_of_hlc(response.restored->through)));
  }
  if (response.ack) {
    lines.add("acknowledges", token_text(response.ack->nonce) + " (" + counted(response.ack->rows, "row") + ")");
    lines.add("next token", token_text(response.ack->next_chain_token));
    for (const sync::RefusedRow& row : response.ack->refused)
      lines.add("refused", printable(row.table + " " + row.key_json + ": " + std::string(code_name(row.code)) + ", " +
                                     row.reason));
  }
  if (response.page) {
    lines.add("page", counted(response.page->rows, "row") + (response.page->more ? ", more wait" : ", the last") +
                          (response.page->restarted ? ", from the beginning again" : ""));
    lines.add("next cursor", position_text(response.page->next_cursor));
    if (!response.page->frame.empty()) lines.add_frame(response.page->frame);
  }
  return lines.text();
}

json::object response_json(const sync::SyncResponse& response) {
  json::object out{{"protocol", response.protocol},
                   {"now_ms", response.facts.now_ms},
                   {"facts",
                    {{"may_relay", response.facts.may_relay},
                     {"max_frame_bytes", response.facts.max_frame_bytes},
                     {"max_value_bytes", response.facts.max_value_bytes},
                     {"schema", response.facts.schema}}},
                   {"need_contract", response.need_contract}};
  if (response.error)
    out["error"] = {{"code", std::string(code_name(response.error->code))},
                    {"message", response.error->message},
                    {"retry_after_ms", response.error->retry_after_ms}};
  if (response.ack) {
    json::array refused;
    for (const sync::RefusedRow& row : response.ack->refused)
      refused.push_back({{"table", row.table},
                         {"key", row.key_json},
                         {"code", std::string(code_name(row.code))},
                         {"reason", row.reason}});
    out["ack"] = {{"nonce", to_hex(response.ack->nonce)},
                  {"next_chain_token", to_hex(response.ack->next_chain_token)},
                  {"rows", response.ack->rows},
                  {"refused", std::move(refused)}};
  }
  if (response.page)
    out["page"] = {{"rows", response.page->rows},
                   {"more", response.page->more},
                   {"restarted", response.page->restarted},
                   {"next_cursor", position_json(response.page->next_cursor)},
                   {"frame", frame_json(response.page->frame)}};
  if (response.restored) {
    json::array sites;
    for (const crdt::SiteId& site : response.restored->sites) sites.emplace_back(to_hex(site.view()));
    out["restored"] = {{"site", std::move(sites)}, {"through", response.restored->through}};
  }
  return out;
}

}  // namespace rejoin::cli
