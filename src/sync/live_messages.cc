#include "sync/live_messages.h"

#include "sync/message_coding.h"

namespace rejoin::sync {
namespace {

void read_app_message(pbf_reader reader, Decoder& d, AppMessage& message) {
  while (!d.failed() && reader.next()) {
    switch (reader.tag_and_type()) {
      case tag_and_type(1, kLength):
        message.topic = d.bytes(reader, kMostTopicBytes, "topic");
        break;
      case tag_and_type(2, kLength):
        message.data = d.bytes(reader, kMostAppBytes, "data");
        break;
      case tag_and_type(3, kLength):
        message.from = d.bytes(reader, d.limits().name_bytes, "sender");
        break;
      default:
        d.other(reader, 4, "AppMessage");
    }
  }
}

void read_topics(pbf_reader reader, Decoder& d, std::vector<std::string>& topics) {
  while (!d.failed() && reader.next()) {
    if (reader.tag_and_type() != tag_and_type(1, kLength)) {
      d.other(reader, 2, "Topics");
      continue;
    }
    if (topics.size() == kMostTopics)
      return d.refuse(Code::too_large, "at most " + std::to_string(kMostTopics) + " topics can be listened to at once");
    topics.emplace_back(d.bytes(reader, kMostTopicBytes, "topic"));
  }
}

// A message in a message, decoded by its own rules.
BytesView nested(pbf_reader& reader) {
  const protozero::data_view view = reader.get_view();
  return {view.data(), view.size()};
}

void read_live_request(pbf_reader reader, Decoder& d, LiveRequest& request) {
  while (!d.failed() && reader.next()) {
    switch (reader.tag_and_type()) {
      case tag_and_type(1, kVarint):
        request.protocol = reader.get_uint32();
        break;
      case tag_and_type(2, kLength): {
        d.once(request.sync.has_value(), "sync");
        Result<SyncRequest> sync = decode_request(nested(reader), d.limits());
        if (!sync.ok()) return d.refuse(sync.error().code, sync.error().message);
        request.sync = std::move(*sync);
        break;
      }
      case tag_and_type(3, kLength):
        request.token = d.bytes(reader, d.limits().text_bytes, "token");
        break;
      case tag_and_type(4, kLength):
        d.once(request.listen.has_value(), "listen");
        read_topics(reader.get_message(), d, request.listen.emplace());
        break;
      case tag_and_type(5, kLength):
        d.once(request.message.has_value(), "message");
        read_app_message(reader.get_message(), d, request.message.emplace());
        break;
      default:
        d.other(reader, 6, "LiveRequest");
    }
  }
}

void read_live_event(pbf_reader reader, Decoder& d, LiveEvent& event) {
  const uint64_t whole = d.limits().frame_bytes + d.limits().cursor_bytes + (1 << 20);
  while (!d.failed() && reader.next()) {
    switch (reader.tag_and_type()) {
      case tag_and_type(1, kVarint):
        event.protocol = reader.get_uint32();
        break;
      case tag_and_type(2, kLength):
        d.once(event.response.has_value(), "response");
        event.response = d.bytes(reader, whole, "response");
        break;
      case tag_and_type(3, kLength):
        d.once(event.page.has_value(), "page");
        event.page = d.bytes(reader, whole, "page");
        break;
      case tag_and_type(4, kLength):
        d.once(event.message.has_value(), "message");
        read_app_message(reader.get_message(), d, event.message.emplace());
        break;
      case tag_and_type(5, kVarint):
        event.expires_in_ms = reader.get_uint64();
        break;
      case tag_and_type(6, kLength):
        d.once(event.error.has_value(), "error");
        read_error(reader.get_message(), d, event.error.emplace());
        break;
      default:
        d.other(reader, 7, "LiveEvent");
    }
  }
}

void write_app_message(const AppMessage& message, pbf_writer& out) {
  add_bytes(out, 1, message.topic);
  add_bytes(out, 2, message.data);
  add_bytes(out, 3, message.from);
}

}  // namespace

Bytes encode_live_request(const LiveRequest& request) {
  Bytes bytes;
  pbf_writer out(bytes);
  out.add_uint32(1, request.protocol);
  if (request.sync) out.add_message(2, encode_request(*request.sync));
  add_bytes(out, 3, request.token);
  if (request.listen)
    add_message(bytes, out, 4, [&](pbf_writer& topics) {
      for (const std::string& topic : *request.listen) topics.add_bytes(1, topic);
    });
  if (request.message)
    add_message(bytes, out, 5, [&](pbf_writer& message) { write_app_message(*request.message, message); });
  return bytes;
}

Bytes wrap_sync_request(BytesView request) {
  Bytes bytes;
  bytes.reserve(request.size() + 16);
  pbf_writer out(bytes);
  out.add_uint32(1, kProtocol);
  out.add_message(2, request.data(), request.size());
  return bytes;
}

Bytes encode_live_event(const LiveEvent& event) {
  Bytes bytes;
  bytes.reserve((event.response ? event.response->size() : 0) + (event.page ? event.page->size() : 0) + 32);
  pbf_writer out(bytes);
  out.add_uint32(1, event.protocol);
  if (event.response) out.add_message(2, *event.response);
  if (event.page) out.add_message(3, *event.page);
  if (event.message)
    add_message(bytes, out, 4, [&](pbf_writer& message) { write_app_message(*event.message, message); });
  add_uint(out, 5, event.expires_in_ms);
  if (event.error) add_message(bytes, out, 6, [&](pbf_writer& error) { write_error(*event.error, error); });
  return bytes;
}

Result<LiveRequest> decode_live_request(BytesView in, const MessageLimits& limits) {
  REJOIN_ASSIGN(LiveRequest request, decode<LiveRequest>(in, limits, read_live_request));
  REJOIN_TRY(check_live_request(request, limits));
  return request;
}

Result<LiveEvent> decode_live_event(BytesView in, const MessageLimits& limits) {
  return decode<LiveEvent>(in, limits, read_live_event);
}

Status check_live_request(const LiveRequest& request, const MessageLimits& limits) {
  if (request.protocol != kProtocol) return wrong_protocol(request.protocol);
  const auto topic_fits = [](const std::string& topic) -> Status {
    if (!topic.empty() && topic.size() <= kMostTopicBytes) return {};
    return fail(Code::bad_argument, "a topic has 1 to " + std::to_string(kMostTopicBytes) + " bytes");
  };
  if (request.sync) REJOIN_TRY(check_request(*request.sync, limits));
  if (request.listen) {
    if (request.listen->size() > kMostTopics)
      return fail(Code::too_large, "at most " + std::to_string(kMostTopics) + " topics can be listened to at once");
    for (const std::string& topic : *request.listen) REJOIN_TRY(topic_fits(topic));
  }
  if (request.message) {
    REJOIN_TRY(topic_fits(request.message->topic));
    if (request.message->data.size() > kMostAppBytes)
      return fail(Code::too_large, "the message has more than " + std::to_string(kMostAppBytes) +
                                       " bytes, which is the most that one to a topic may have");
  }
  return {};
}

}  // namespace rejoin::sync
