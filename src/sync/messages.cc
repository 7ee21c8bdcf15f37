#include "sync/messages.h"

#include "sync/message_coding.h"

namespace rejoin::sync {
namespace {

void read_hello(pbf_reader reader, Decoder& d, Hello& hello) {
  const MessageLimits& limits = d.limits();
  bool site = false;
  while (!d.failed() && reader.next()) {
    switch (reader.tag_and_type()) {
      case tag_and_type(1, kLength): {
        BytesView id = d.bytes(reader, 16, "site");
        if (id.size() != 16)
          d.refuse(Code::corrupt, "hello.site must have 16 bytes");
        else
          hello.site = crdt::SiteId::from(id), site = true;
        break;
      }
      case tag_and_type(2, kLength):
        hello.contract_fingerprint = d.bytes(reader, limits.token_bytes, "fingerprint");
        break;
      case tag_and_type(3, kLength):
        hello.contract_json = d.bytes(reader, limits.contract_bytes, "contract");
        break;
      case tag_and_type(4, kLength):
        hello.client_version = d.bytes(reader, limits.name_bytes, "client version");
        break;
      default:
        d.other(reader, 5, "Hello");
    }
  }
  if (!site) d.refuse(Code::corrupt, "hello.site is missing");
}

void read_push(pbf_reader reader, Decoder& d, Push& push) {
  const MessageLimits& limits = d.limits();
  while (!d.failed() && reader.next()) {
    switch (reader.tag_and_type()) {
      case tag_and_type(1, kLength):
        push.chain_token = d.bytes(reader, limits.token_bytes, "chain token");
        break;
      case tag_and_type(2, kLength):
        push.nonce = d.bytes(reader, limits.token_bytes, "nonce");
        break;
      case tag_and_type(3, kLength):
        push.frame = d.bytes(reader, limits.frame_bytes, "frame");
        break;
      default:
        d.other(reader, 4, "Push");
    }
  }
}

void read_pull(pbf_reader reader, Decoder& d, Pull& pull) {
  while (!d.failed() && reader.next()) {
    switch (reader.tag_and_type()) {
      case tag_and_type(1, kLength):
        pull.cursor = d.bytes(reader, d.limits().cursor_bytes, "cursor");
        break;
      case tag_and_type(2, kVarint):
        pull.max_bytes = reader.get_uint64();
        break;
      case tag_and_type(3, kLength):
        pull.chain_token = d.bytes(reader, d.limits().token_bytes, "chain token");
        break;
      case tag_and_type(4, kVarint):
        pull.own = get_flag(reader);
        break;
      case tag_and_type(5, kVarint):
        pull.unpushed = get_flag(reader);
        break;
      default:
        d.other(reader, 6, "Pull");
    }
  }
}

void read_facts(pbf_reader reader, Decoder& d, ServerFacts& facts) {
  while (!d.failed() && reader.next()) {
    switch (reader.tag_and_type()) {
      case tag_and_type(1, kVarint):
        facts.may_relay = get_flag(reader);
        break;
      case tag_and_type(2, kVarint):
        facts.max_frame_bytes = reader.get_uint64();
        break;
      case tag_and_type(3, kVarint):
        facts.max_value_bytes = reader.get_uint64();
        break;
      case tag_and_type(4, kLength):
        facts.schema = d.bytes(reader, d.limits().token_bytes, "schema");
        break;
      default:
        d.other(reader, 5, "Facts");
    }
  }
}

Code read_code(pbf_reader& reader) {
  Code code = code_from_number(reader.get_uint32()).value_or(Code::internal);
  return code == Code::ok ? Code::internal : code;
}

void read_refused(pbf_reader reader, Decoder& d, RefusedRow& row) {
  const MessageLimits& limits = d.limits();
  while (!d.failed() && reader.next()) {
    switch (reader.tag_and_type()) {
      case tag_and_type(1, kLength):
        row.table = d.bytes(reader, limits.name_bytes, "table name");
        break;
      case tag_and_type(2, kLength):
        row.key = d.bytes(reader, limits.cursor_bytes, "key");
        break;
      case tag_and_type(3, kLength):
        row.key_json = d.bytes(reader, limits.cursor_bytes, "key");
        break;
      case tag_and_type(4, kVarint):
        row.code = read_code(reader);
        break;
      case tag_and_type(5, kLength):
        row.reason = d.bytes(reader, limits.text_bytes, "reason");
        break;
      case tag_and_type(6, kLength):
        row.server = d.bytes(reader, limits.frame_bytes, "row");
        break;
      default:
        d.other(reader, 7, "RefusedRow");
    }
  }
}

void read_ack(pbf_reader reader, Decoder& d, Ack& ack) {
  const MessageLimits& limits = d.limits();
  while (!d.failed() && reader.next()) {
    switch (reader.tag_and_type()) {
      case tag_and_type(1, kLength):
        ack.nonce = d.bytes(reader, limits.token_bytes, "nonce");
        break;
      case tag_and_type(2, kLength):
        ack.next_chain_token = d.bytes(reader, limits.token_bytes, "chain token");
        break;
      case tag_and_type(3, kLength):
        if (ack.refused.size() >= limits.refused_rows) {
          d.refuse(Code::too_large, "the response refuses more than " + std::to_string(limits.refused_rows) + " rows");
          break;
        }
        read_refused(reader.get_message(), d, ack.refused.emplace_back());
        break;
      case tag_and_type(4, kVarint):
        ack.rows = reader.get_uint64();
        break;
      default:
        d.other(reader, 5, "Ack");
    }
  }
}

void read_evicted(pbf_reader reader, Decoder& d, EvictedRows& rows, uint64_t& count) {
  while (!d.failed() && reader.next()) {
    switch (reader.tag_and_type()) {
      case tag_and_type(1, kLength):
        rows.table = d.bytes(reader, d.limits().name_bytes, "table name");
        break;
      case tag_and_type(2, kVarint):
        rows.all = get_flag(reader);
        break;
      case tag_and_type(3, kLength):
        if (++count > d.limits().evicted_rows) {
          d.refuse(Code::too_large,
                   "the response evicts more than " + std::to_string(d.limits().evicted_rows) + " rows");
          break;
        }
        rows.keys.emplace_back(d.bytes(reader, d.limits().cursor_bytes, "key"));
        break;
      case tag_and_type(4, kVarint):
        rows.horizon = reader.get_uint64();
        break;
      default:
        d.other(reader, 5, "Evicted");
    }
  }
}

void read_page(pbf_reader reader, Decoder& d, PageMessage& page) {
  const MessageLimits& limits = d.limits();
  uint64_t evicted = 0;
  while (!d.failed() && reader.next()) {
    switch (reader.tag_and_type()) {
      case tag_and_type(1, kLength):
        page.frame = d.bytes(reader, limits.frame_bytes, "frame");
        break;
      case tag_and_type(2, kLength):
        page.next_cursor = d.bytes(reader, limits.cursor_bytes, "cursor");
        break;
      case tag_and_type(3, kVarint):
        page.more = get_flag(reader);
        break;
      case tag_and_type(4, kVarint):
        page.restarted = get_flag(reader);
        break;
      case tag_and_type(5, kVarint):
        page.rows = reader.get_uint64();
        break;
      case tag_and_type(6, kLength):
        if (++evicted > d.limits().evicted_rows) {
          d.refuse(Code::too_large,
                   "the response evicts more than " + std::to_string(d.limits().evicted_rows) + " rows");
          break;
        }
        read_evicted(reader.get_message(), d, page.evicted.emplace_back(), evicted);
        break;
      default:
        d.other(reader, 7, "Page");
    }
  }
}

void read_request(pbf_reader reader, Decoder& d, SyncRequest& request) {
  bool hello = false;
  while (!d.failed() && reader.next()) {
    switch (reader.tag_and_type()) {
      case tag_and_type(1, kVarint):
        request.protocol = reader.get_uint32();
        break;
      case tag_and_type(2, kLength):
        d.once(hello, "hello");
        hello = true;
        read_hello(reader.get_message(), d, request.hello);
        break;
      case tag_and_type(3, kLength):
        d.once(request.push.has_value(), "push");
        read_push(reader.get_message(), d, request.push.emplace());
        break;
      case tag_and_type(4, kLength):
        d.once(request.pull.has_value(), "pull");
        read_pull(reader.get_message(), d, request.pull.emplace());
        break;
      default:
        d.other(reader, 5, "SyncRequest");
    }
  }
  if (!hello) d.refuse(Code::corrupt, "the request has no hello");
}

void read_restored(pbf_reader reader, Decoder& d, Restored& restored) {
  while (!d.failed() && reader.next()) {
    switch (reader.tag_and_type()) {
      case tag_and_type(1, kLength): {
        const BytesView id = d.bytes(reader, 16, "site");
        if (id.size() != 16 || restored.sites.size() >= kMostOwnSites)
          d.refuse(Code::corrupt,
                   "restored.site must have 16 bytes, and there may be " + std::to_string(kMostOwnSites));
        else
          restored.sites.push_back(crdt::SiteId::from(id));
        break;
      }
      case tag_and_type(2, kVarint):
        restored.through = reader.get_uint64();
        break;
      default:
        d.other(reader, 3, "Restored");
    }
  }
}

void read_response(pbf_reader reader, Decoder& d, SyncResponse& response) {
  bool facts = false;
  while (!d.failed() && reader.next()) {
    switch (reader.tag_and_type()) {
      case tag_and_type(1, kVarint):
        response.protocol = reader.get_uint32();
        break;
      case tag_and_type(2, kVarint):
        response.facts.now_ms = reader.get_int64();
        break;
      case tag_and_type(3, kLength):
        d.once(facts, "facts");
        facts = true;
        read_facts(reader.get_message(), d, response.facts);
        break;
      case tag_and_type(4, kVarint):
        response.need_contract = get_flag(reader);
        break;
      case tag_and_type(5, kLength):
        d.once(response.ack.has_value(), "ack");
        read_ack(reader.get_message(), d, response.ack.emplace());
        break;
      case tag_and_type(6, kLength):
        d.once(response.page.has_value(), "page");
        read_page(reader.get_message(), d, response.page.emplace());
        break;
      case tag_and_type(7, kLength):
        d.once(response.error.has_value(), "error");
        read_error(reader.get_message(), d, response.error.emplace());
        break;
      case tag_and_type(8, kLength):
        d.once(response.restored.has_value(), "restored");
        read_restored(reader.get_message(), d, response.restored.emplace());
        break;
      default:
        d.other(reader, 9, "SyncResponse");
    }
  }
}

void write_ack(const Ack& ack, pbf_writer& out) {
  add_bytes(out, 1, ack.nonce);
  add_bytes(out, 2, ack.next_chain_token);
  for (const RefusedRow& row : ack.refused) {
    pbf_writer one(out, 3);
    add_bytes(one, 1, row.table);
    add_bytes(one, 2, row.key);
    add_bytes(one, 3, row.key_json);
    add_uint(one, 4, static_cast<uint64_t>(row.code));
    add_bytes(one, 5, row.reason);
    add_bytes(one, 6, row.server);
  }
  add_uint(out, 4, ack.rows);
}

}  // namespace

void read_error(pbf_reader reader, Decoder& d, WireError& error) {
  while (!d.failed() && reader.next()) {
    switch (reader.tag_and_type()) {
      case tag_and_type(1, kVarint):
        error.code = read_code(reader);
        break;
      case tag_and_type(2, kLength):
        error.message = d.bytes(reader, d.limits().text_bytes, "error message");
        break;
      case tag_and_type(3, kVarint):
        error.retry_after_ms = reader.get_uint64();
        break;
      case tag_and_type(4, kLength):
        reader.skip();
        break;  // the name, for people
      default:
        d.other(reader, 5, "Error");
    }
  }
}

void write_error(const WireError& error, pbf_writer& out) {
  add_uint(out, 1, static_cast<uint64_t>(error.code));
  add_bytes(out, 2, error.message);
  add_uint(out, 3, error.retry_after_ms);
  add_bytes(out, 4, code_name(error.code));
}

Bytes encode_request(const SyncRequest& request) {
  Bytes bytes;
  pbf_writer out(bytes);
  out.add_uint32(1, request.protocol);
  {
    pbf_writer hello(out, 2);
    add_bytes(hello, 1, request.hello.site.view());
    add_bytes(hello, 2, request.hello.contract_fingerprint);
    add_bytes(hello, 3, request.hello.contract_json);
    add_bytes(hello, 4, request.hello.client_version);
  }
  if (request.push)
    add_message(bytes, out, 3, [&](pbf_writer& push) {
      push.reserve(request.push->frame.size() + 128);
      add_bytes(push, 1, request.push->chain_token);
      add_bytes(push, 2, request.push->nonce);
      add_bytes(push, 3, request.push->frame);
    });
  if (request.pull)
    add_message(bytes, out, 4, [&](pbf_writer& pull) {
      add_bytes(pull, 1, request.pull->cursor);
      add_uint(pull, 2, request.pull->max_bytes);
      add_bytes(pull, 3, request.pull->chain_token);
      add_bool(pull, 4, request.pull->own);
      add_bool(pull, 5, request.pull->unpushed);
    });
  return bytes;
}

Bytes encode_response(const SyncResponse& response) {
  Bytes bytes;
  pbf_writer out(bytes);
  out.add_uint32(1, response.protocol);
  if (response.facts.now_ms) out.add_int64(2, response.facts.now_ms);
  {
    pbf_writer facts(out, 3);
    add_bool(facts, 1, response.facts.may_relay);
    add_uint(facts, 2, response.facts.max_frame_bytes);
    add_uint(facts, 3, response.facts.max_value_bytes);
    add_bytes(facts, 4, response.facts.schema);
  }
  add_bool(out, 4, response.need_contract);
  if (response.ack) add_message(bytes, out, 5, [&](pbf_writer& ack) { write_ack(*response.ack, ack); });
  if (response.page)
    add_message(bytes, out, 6, [&](pbf_writer& page) {
      page.reserve(response.page->frame.size() + 128);
      add_bytes(page, 1, response.page->frame);
      add_bytes(page, 2, response.page->next_cursor);
      add_bool(page, 3, response.page->more);
      add_bool(page, 4, response.page->restarted);
      add_uint(page, 5, response.page->rows);
      for (const EvictedRows& rows : response.page->evicted)
        add_message(bytes, page, 6, [&](pbf_writer& evicted) {
          add_bytes(evicted, 1, rows.table);
          add_bool(evicted, 2, rows.all);
          for (const Bytes& key : rows.keys) evicted.add_bytes(3, key.data(), key.size());
          add_uint(evicted, 4, rows.horizon);
        });
    });
  if (response.error) add_message(bytes, out, 7, [&](pbf_writer& error) { write_error(*response.error, error); });
  if (response.restored)
    add_message(bytes, out, 8, [&](pbf_writer& restored) {
      for (const crdt::SiteId& site : response.restored->sites) add_bytes(restored, 1, site.view());
      add_uint(restored, 2, response.restored->through);
    });
  return bytes;
}

Result<SyncRequest> decode_request(BytesView in, const MessageLimits& limits) {
  REJOIN_ASSIGN(SyncRequest request, decode<SyncRequest>(in, limits, read_request));
  REJOIN_TRY(check_request(request, limits));
  return request;
}

Result<SyncResponse> decode_response(BytesView in, const MessageLimits& limits) {
  return decode<SyncResponse>(in, limits, read_response);
}

Status check_request(const SyncRequest& request, const MessageLimits& limits) {
  if (request.protocol != kProtocol) return wrong_protocol(request.protocol);
  auto within = [](BytesView value, uint64_t limit, const char* what) -> Status {
    if (value.size() <= limit) return {};
    return fail(Code::too_large, std::string(what) + " has " + std::to_string(value.size()) +
                                     " bytes; this server accepts " + std::to_string(limit));
  };
  for (char c : request.hello.contract_fingerprint)
    if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
      return fail(Code::corrupt, "hello.contract_fingerprint must be lower-case hex digits");
  REJOIN_TRY(within(request.hello.contract_fingerprint, 64, "hello.contract_fingerprint"));
  REJOIN_TRY(within(request.hello.contract_json, limits.contract_bytes, "hello.contract_json"));
  REJOIN_TRY(within(request.hello.client_version, limits.name_bytes, "hello.client_version"));
  if (request.push) {
    REJOIN_TRY(within(request.push->chain_token, limits.token_bytes, "push.chain_token"));
    REJOIN_TRY(within(request.push->frame, limits.frame_bytes, "push.frame"));
    if (request.push->nonce.size() != kNonceBytes)
      return fail(Code::corrupt, "push.nonce must have " + std::to_string(kNonceBytes) + " bytes");
    if (request.push->frame.empty()) return fail(Code::corrupt, "push.frame is empty; leave push out instead");
  }
  if (request.pull) {
    REJOIN_TRY(within(request.pull->cursor, limits.cursor_bytes, "pull.cursor"));
    REJOIN_TRY(within(request.pull->chain_token, limits.token_bytes, "pull.chain_token"));
  }
  return {};
}

SyncResponse error_response(const Error& error, const ServerFacts& facts, uint64_t retry_after_ms) {
  SyncResponse response;
  response.facts = facts;
  response.error = WireError{error.code, error.message, retry_after_ms};
  return response;
}

}  // namespace rejoin::sync
