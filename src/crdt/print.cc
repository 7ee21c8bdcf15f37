#include "crdt/print.h"

#include <charconv>
#include <cmath>

#include "base/clock.h"

namespace rejoin::crdt {
namespace {

// The length of the well-formed UTF-8 sequence at p (Unicode 15, table 3-7), or minus the length of the broken part
// that one U+FFFD stands for.
int utf8_step(const char* p, const char* end) {
  auto at = [&](int i) { return static_cast<uint8_t>(p[i]); };
  uint8_t lead = at(0);
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return -1;
  int length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  // The second byte's range depends on the first: no overlong forms, no surrogates, nothing above U+10FFFF.
  uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  for (int i = 1; i < length; ++i, low = 0x80, high = 0xbf)
    if (p + i == end || at(i) < low || at(i) > high) return -i;
  return length;
}

void put_escaped(std::string& out, char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\b':
      out += "\\b";
      return;
    case '\f':
      out += "\\f";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      break;
  }
  if (static_cast<uint8_t>(c) >= 0x20) {
    out.push_back(c);
    return;
  }
  static constexpr char kDigits[] = "0123456789abcdef";
  out += "\\u00";
  out.push_back(kDigits[static_cast<uint8_t>(c) >> 4]);
  out.push_back(kDigits[c & 15]);
}

std::string real_json(double v) {
  if (std::isnan(v)) return "null";
  if (std::isinf(v)) return v < 0 ? "-1e999" : "1e999";
  char buffer[32];
  auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, v);
  std::string out(buffer, end);
  if (out.find_first_of(".e") == std::string::npos) out += ".0";
  return out;
}

}  // namespace

std::string json_string(BytesView text) {
  std::string out;
  out.reserve(text.size() + 2);
  out.push_back('"');
  for (const char *p = text.data(), *end = p + text.size(); p != end;) {
    int n = utf8_step(p, end);
    if (n == 1)
      put_escaped(out, *p);
    else if (n > 1)
      out.append(p, static_cast<size_t>(n));
    else
      out += "\xef\xbf\xbd";
    p += n < 0 ? -n : n;
  }
  out.push_back('"');
  return out;
}

std::string value_json(const ValueRef& value) {
  switch (value.type) {
    case ValueType::null:
      return "null";
    case ValueType::integer:
      return std::to_string(value.integer);
    case ValueType::real:
      return real_json(value.real);
    case ValueType::text:
      return json_string(value.bytes);
    case ValueType::blob:
      return "{\"blob\":\"" + to_hex(value.bytes) + "\"}";
  }
  return "null";
}

std::string hlc_text(Hlc hlc) {
  if (hlc == kBottomHlc) return "never";
  return iso8601(ms_of_hlc(hlc)) + "/" + std::to_string(hlc & 0xffff);
}

std::string stamp_text(Stamp stamp, const SiteTable& sites) {
  if (stamp.bottom()) return "never";
  std::string site = sites.contains(stamp.site) ? to_hex(sites[stamp.site].view().substr(0, 4)) : "site?";
  return hlc_text(stamp.hlc) + " " + site;
}

std::string column_set_text(const ColumnSet& columns) {
  if (columns.empty()) return "none";
  std::string out;
  uint32_t from = 0, to = 0;  // the run being gathered is [from, to)
  auto flush = [&] {
    if (from == to) return;
    if (!out.empty()) out += ",";
    out += std::to_string(from);
    if (to - from > 1) out += "-" + std::to_string(to - 1);
  };
  columns.each([&](uint32_t column) {
    if (column != to) flush(), from = column;
    to = column + 1;
  });
  flush();
  return out;
}

std::string record_text(const RowRecord& record, const SiteTable& sites) {
  auto stamp = [&](Stamp s) { return s == record.live ? std::string("then") : stamp_text(s, sites); };
  std::string out =
      record.live.bottom() ? "unknown" : (record.alive ? "alive " : "dead ") + stamp_text(record.live, sites);
  if (record.hidden) out += ", hidden";
  if (!record.birth.bottom()) out += "; born " + stamp(record.birth);
  for (const CellGroup& group : record.groups) out += "; " + column_set_text(group.columns) + " " + stamp(group.stamp);
  return out;
}

}  // namespace rejoin::crdt
