// How this room reads and writes Protocol Buffers: limits first, the first complaint sticks. Internal to `sync`.
#pragma once

#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>
#include <string>
#include <utility>

#include "sync/messages.h"

namespace rejoin::sync {

using protozero::pbf_reader;
using protozero::pbf_wire_type;
using protozero::pbf_writer;
using protozero::tag_and_type;

inline constexpr auto kVarint = pbf_wire_type::varint;
inline constexpr auto kLength = pbf_wire_type::length_delimited;

// Collects the first complaint of a decode.
class Decoder {
 public:
  explicit Decoder(const MessageLimits& limits) : limits_(limits) {}

  const MessageLimits& limits() const { return limits_; }
  bool failed() const { return failed_; }
  Error error() { return std::move(error_); }

  void refuse(Code code, std::string message) {
    if (failed_) return;
    failed_ = true;
    error_ = fail(code, std::move(message));
  }

  BytesView bytes(pbf_reader& reader, uint64_t limit, const char* what) {
    const protozero::data_view view = reader.get_view();
    if (view.size() > limit) {
      refuse(Code::too_large, std::string("the message's ") + what + " has " + std::to_string(view.size()) +
                                  " bytes; at most " + std::to_string(limit) + " are accepted");
      return {};
    }
    return BytesView(view.data(), view.size());
  }

  // A field we know, but with a wire type that it cannot have; or one that we don't know.
  void other(pbf_reader& reader, uint32_t known_below, const char* what) {
    if (reader.tag() < known_below)
      refuse(Code::corrupt,
             std::string("field ") + std::to_string(reader.tag()) + " of " + what + " has a foreign wire type");
    else
      reader.skip();
  }

  void once(bool seen, const char* what) {
    if (seen) refuse(Code::corrupt, std::string(what) + " occurs twice in one message");
  }

 private:
  const MessageLimits& limits_;
  bool failed_ = false;
  Error error_;
};

inline Error wrong_protocol(uint64_t protocol) {
  return fail(Code::unsupported, "the peer speaks sync protocol " + std::to_string(protocol) + ", this build speaks " +
                                     std::to_string(kProtocol) + "; update the older of the two");
}

// The last `protocol` of the message, whatever else is in it; 0 when absent.
inline uint64_t find_protocol(pbf_reader reader) {
  uint64_t protocol = 0;
  while (reader.next()) {
    if (reader.tag_and_type() == tag_and_type(1, kVarint))
      protocol = reader.get_uint64();
    else
      reader.skip();
  }
  return protocol;
}

// protozero's get_bool() looks at a byte before it knows that there is one.
inline bool get_flag(pbf_reader& reader) { return reader.get_uint64() != 0; }

// Runs `read` over the message; protozero reports malformed bytes by exceptions, which end here.
template <class Message, class Read>
Result<Message> decode(BytesView in, const MessageLimits& limits, Read read) {
  Decoder d(limits);
  Message message;
  try {
    const pbf_reader reader(in.data(), in.size());
    if (uint64_t protocol = find_protocol(reader); protocol != kProtocol) {
      if (protocol == 0)
        return fail(Code::corrupt, "not a message of Rejoin's sync protocol: it has no protocol number");
      return wrong_protocol(protocol);
    }
    read(reader, d, message);
  } catch (const protozero::exception& e) {
    d.refuse(Code::corrupt, std::string("the message is damaged: ") + e.what());
  }
  if (d.failed()) return d.error();
  return message;
}

inline void add_bytes(pbf_writer& out, uint32_t tag, BytesView value) {
  if (!value.empty()) out.add_bytes(tag, value.data(), value.size());
}
inline void add_bool(pbf_writer& out, uint32_t tag, bool value) {
  if (value) out.add_bool(tag, true);
}
inline void add_uint(pbf_writer& out, uint32_t tag, uint64_t value) {
  if (value) out.add_uint64(tag, value);
}

// A message in a field of another one, by write(pbf_writer&). Presence says something even when nothing is in it, but a
// writer takes an empty one back.
template <class Write>
void add_message(Bytes& bytes, pbf_writer& out, uint32_t tag, Write write) {
  const size_t before = bytes.size();
  {
    pbf_writer inner(out, tag);
    write(inner);
  }
  if (bytes.size() == before) out.add_message(tag, "", 0);
}

void read_error(pbf_reader reader, Decoder& d, WireError& error);
void write_error(const WireError& error, pbf_writer& out);

}  // namespace rejoin::sync
