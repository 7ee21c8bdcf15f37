#include "postgres/types.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "base/uuid.h"

namespace rejoin::postgres {
namespace {

using crdt::OwnedValue;
using crdt::ValueRef;
using crdt::ValueType;

OwnedValue text_value(std::string_view text) { return OwnedValue::of(ValueRef::of_text(text)); }

std::string print_real(double v) {
  if (std::isinf(v)) return v < 0 ? "-Infinity" : "Infinity";
  char buffer[32];
  auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, v);
  return std::string(buffer, end);
}

std::optional<int64_t> read_integer(std::string_view text) {
  int64_t v = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return v;
}

std::optional<double> read_real(std::string_view text) {
  double v = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
  if (error != std::errc() || end != text.data() + text.size() || std::isnan(v)) return std::nullopt;
  return v;
}

// "1234.5000" -> "1234.5", "12" -> "12"; digits only, so that equal numbers of one scale or another look alike.
std::string_view without_zeros(std::string_view text) {
  if (text.find('.') == std::string_view::npos) return text;
  while (text.back() == '0') text.remove_suffix(1);
  if (text.back() == '.') text.remove_suffix(1);
  return text;
}

// A decimal: an integer if it is one, a real if its shortest spelling is the decimal, else text.
OwnedValue numeric_value(std::string_view text) {
  std::string_view digits = without_zeros(text);
  if (auto integer = read_integer(digits)) return OwnedValue::of(ValueRef::of_integer(*integer));
  // An integer beyond 64 bits stays text: the shortest spelling of a double that large stands for another integer.
  const bool fraction = digits.find('.') != std::string_view::npos;
  if (auto real = read_real(digits); fraction && real && std::isfinite(*real)) {
    char buffer[64];
    auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, *real, std::chars_format::fixed);
    if (error == std::errc() && std::string_view(buffer, end) == digits) {
      return OwnedValue::of(ValueRef::of_real(*real));
    }
  }
  return text_value(text);
}

// "2026-11-21 17:00:00.5+00" -> "2026-11-21T17:00:00.5Z" (RFC 3339). What has no such form (infinity, BC, years beyond
// 9999) stays as it is.
std::string utc_text(std::string_view text) {
  if (text.size() < 22 || text[10] != ' ' || !text.ends_with("+00")) return std::string(text);
  std::string out(text.substr(0, text.size() - 3));
  out[10] = 'T';
  return out + "Z";
}

Error unfit(const Type& type, const std::string& what) {
  return fail(Code::bad_argument, what + " does not fit a column of type " + type.sql);
}

bool digits_like(std::string_view text, std::string_view pattern) {
  if (text.size() != pattern.size()) return false;
  for (size_t i = 0; i < text.size(); ++i)
    if (pattern[i] == '0' ? text[i] < '0' || text[i] > '9' : text[i] != pattern[i]) return false;
  return true;
}

// "…:SS" or "…:SS.ffffff" without trailing zeros.
bool second_fraction(std::string_view fraction) {
  if (fraction.empty()) return true;
  if (fraction[0] != '.' || fraction.size() < 2 || fraction.size() > 7 || fraction.back() == '0') return false;
  return std::all_of(fraction.begin() + 1, fraction.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool infinite(std::string_view text) { return text == "infinity" || text == "-infinity"; }

// PostgreSQL takes 24:00:00 and 23:59:60 as well, and gives them back as another time.
bool canonical_time_stamp(std::string_view text, char separator, std::string_view zone) {
  std::string pattern = "0000-00-00?00:00:00";
  pattern[10] = separator;
  if (infinite(text)) return true;
  if (text.size() < 19 + zone.size() || !text.ends_with(zone) || !digits_like(text.substr(0, 19), pattern))
    return false;
  return text.substr(11, 2) < "24" && text.substr(14, 2) < "60" && text.substr(17, 2) < "60" &&
         second_fraction(text.substr(19, text.size() - 19 - zone.size()));
}

// Takes digits off the front: at least and at most so many.
std::optional<int64_t> take_number(std::string_view& text, size_t least, size_t most) {
  size_t n = 0;
  int64_t out = 0;
  while (n < text.size() && n < most && text[n] >= '0' && text[n] <= '9') out = out * 10 + (text[n++] - '0');
  if (n < least) return std::nullopt;
  text.remove_prefix(n);
  return out;
}
bool take(std::string_view& text, std::string_view what) {
  if (!text.starts_with(what)) return false;
  text.remove_prefix(what.size());
  return true;
}

// Takes a date off the front, one of the calendar: "0044-03-15" (" BC" is the caller's), "12026-01-01".
bool take_date(std::string_view& text, bool bc, int64_t last_year) {
  const auto year = take_number(text, 4, 7);
  if (!year || !take(text, "-")) return false;
  const auto month = take_number(text, 2, 2);
  if (!month || !take(text, "-")) return false;
  const auto day = take_number(text, 2, 2);
  if (!day || *year < 1 || *month < 1 || *month > 12 || *day < 1) return false;
  const int64_t counted = bc ? 1 - *year : *year;
  const bool leap = counted % 4 == 0 && (counted % 100 != 0 || counted % 400 == 0);
  constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  if (*day > kDays[*month - 1] + (*month == 2 && leap)) return false;
  // PostgreSQL's days begin with that of Julian number 0.
  return bc ? *year < 4714 || (*year == 4714 && *month * 100 + *day >= 1124) : *year <= last_year;
}

// Is it a day, or a moment, that PostgreSQL knows, as it spells it or as devices do?
bool is_moment(TypeClass kind, std::string_view text) {
  if (infinite(text)) return true;
  const bool bc = text.ends_with(" BC");
  if (bc) text.remove_suffix(3);
  if (kind == TypeClass::date) return take_date(text, bc, 5'874'897) && text.empty();
  if (!take_date(text, bc, 294'276)) return false;
  const bool utc = kind == TypeClass::timestamptz && !bc && take(text, "T");
  if (!utc && !take(text, " ")) return false;
  const std::string_view zone = utc ? "Z" : kind == TypeClass::timestamptz ? "+00" : "";
  if (text.size() < 8 + zone.size() || !text.ends_with(zone) || !digits_like(text.substr(0, 8), "00:00:00"))
    return false;
  return text.substr(0, 2) < "24" && text.substr(3, 2) < "60" && text.substr(6, 2) < "60" &&
         second_fraction(text.substr(8, text.size() - 8 - zone.size()));
}

// Element types of which to_jsonb() and back is the identity. json is not among them: a JSON string and a text look
// alike inside of a JSON array, and a JSON null is a null.
bool travels_in_array(std::string_view kind) {
  constexpr std::string_view kinds[] = {"int2",     "int4",  "int8",    "float4", "float8",    "numeric",
                                        "bool",     "text",  "varchar", "bpchar", "citext",    "name",
                                        "uuid",     "date",  "time",    "timetz", "timestamp", "timestamptz",
                                        "interval", "bytea", "inet",    "cidr",   "macaddr",   "enum"};
  return std::find(std::begin(kinds), std::end(kinds), kind) != std::end(kinds);
}

}  // namespace

bool is_storable_text(std::string_view s) {
  for (size_t i = 0; i < s.size();) {
    const auto c = static_cast<uint8_t>(s[i]);
    if (c == 0) return false;
    const size_t n = c < 0x80                ? 1
                     : c >= 0xc2 && c < 0xe0 ? 2
                     : c >= 0xe0 && c < 0xf0 ? 3
                     : c >= 0xf0 && c < 0xf5 ? 4
                                             : 0;
    if (n == 0 || i + n > s.size()) return false;
    for (size_t k = 1; k < n; ++k)
      if ((static_cast<uint8_t>(s[i + k]) & 0xc0) != 0x80) return false;
    const auto second = n > 1 ? static_cast<uint8_t>(s[i + 1]) : 0;
    if ((c == 0xe0 && second < 0xa0) || (c == 0xed && second > 0x9f) || (c == 0xf0 && second < 0x90) ||
        (c == 0xf4 && second > 0x8f))
      return false;  // overlong, a surrogate, or beyond U+10FFFF
    i += n;
  }
  return true;
}

std::optional<Type> type_of(std::string_view kind, std::string_view category, std::string_view base,
                            const std::string& sql, std::string_view element) {
  Type t;
  t.sql = sql;
  t.base = base;
  auto integer = [&](int64_t least, int64_t most) {
    t.kind = TypeClass::integer, t.least = least, t.most = most;
    return t;
  };
  auto is = [&](TypeClass c) {
    t.kind = c;
    return t;
  };
  if (category == "A") {
    if (!travels_in_array(element) || base == "int2vector" || base == "oidvector") return std::nullopt;
    t.characters = element == "text" || element == "varchar" || element == "citext" || element == "bpchar";
    return is(TypeClass::array);
  }
  if (kind == "e") return is(TypeClass::text);
  if (base == "int2") return integer(std::numeric_limits<int16_t>::min(), std::numeric_limits<int16_t>::max());
  if (base == "int4") return integer(std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max());
  if (base == "int8") return integer(std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max());
  if (base == "float4" || base == "float8") {
    t.single = base == "float4";
    return is(TypeClass::real);
  }
  if (base == "bool") return is(TypeClass::boolean);
  if (base == "numeric") return is(TypeClass::numeric);
  if (base == "text" || base == "varchar" || base == "citext" || base == "bpchar") {
    t.characters = true;
    return is(TypeClass::text);
  }
  if (base == "interval" || base == "timetz" || base == "inet" || base == "cidr" || base == "macaddr" || base == "name")
    return is(TypeClass::text);
  if (base == "uuid") return is(TypeClass::uuid);
  if (base == "timestamptz") return is(TypeClass::timestamptz);
  if (base == "timestamp") return is(TypeClass::timestamp);
  if (base == "date") return is(TypeClass::date);
  if (base == "time") return is(TypeClass::time);
  if (base == "json" || base == "jsonb") return is(TypeClass::json);
  if (base == "bytea") return is(TypeClass::bytea);
  return std::nullopt;
}

bool fits_key(const Type& type) {
  switch (type.kind) {
    case TypeClass::integer:
    case TypeClass::uuid:
    case TypeClass::timestamptz:
    case TypeClass::timestamp:
    case TypeClass::date:
    case TypeClass::bytea:
      return true;
    case TypeClass::text:
      return type.sql == "text" || type.sql.starts_with("character varying");
    default:
      return false;
  }
}

std::string contract_type(const Type& type) {
  switch (type.kind) {
    case TypeClass::integer:
      return "INTEGER";
    case TypeClass::real:
      return "REAL";
    case TypeClass::boolean:
      return "BOOLEAN";
    case TypeClass::numeric:
      return "NUMERIC";
    case TypeClass::bytea:
      return "BLOB";
    default:
      return "TEXT";
  }
}

std::string sql_type(std::string_view contract_type) {
  auto is = [&](std::string_view word) { return contract_type.starts_with(word); };
  if (is("BOOL")) return "boolean";
  if (is("UUID")) return "uuid";
  if (is("TIMESTAMPTZ") || is("TIMESTAMP WITH TIME ZONE")) return "timestamptz";
  if (is("TIMESTAMP") || is("DATETIME")) return "text";  // SQLite's times have many spellings
  if (is("DATE")) return "text";
  if (is("JSONB")) return "jsonb";
  if (is("JSON")) return "json";
  if (contract_type.find("INT") != std::string_view::npos) return "bigint";
  for (std::string_view word : {"CHAR", "CLOB", "TEXT"})
    if (contract_type.find(word) != std::string_view::npos) return "text";
  if (contract_type.find("BLOB") != std::string_view::npos) return "bytea";
  for (std::string_view word : {"REAL", "FLOA", "DOUB"})
    if (contract_type.find(word) != std::string_view::npos) return "double precision";
  if (is("NUMERIC") || is("DECIMAL")) return "numeric";
  return "text";
}

std::string read_expression(const Type& type, const std::string& column) {
  if (type.kind == TypeClass::array) return "to_jsonb(" + column + ")::text";
  if (type.kind == TypeClass::bytea) return "encode(" + column + ", 'hex')";
  return column + "::text";
}

std::string write_expression(const Type& type, const std::string& parameter) {
  if (type.kind == TypeClass::bytea) return "decode(" + parameter + ", 'hex')";
  if (type.characters && type.kind == TypeClass::text) return parameter;
  if (type.kind == TypeClass::array)
    return "(CASE WHEN " + parameter + " IS NULL THEN NULL ELSE ARRAY(SELECT jsonb_array_elements_text(" + parameter +
           "::jsonb))" + (type.characters ? "" : "::" + type.sql) + " END)";
  return parameter + "::" + type.sql;
}

std::string key_expression(const Type& type, const std::string& parameter) {
  const bool cast = type.kind != TypeClass::bytea && type.kind != TypeClass::text;
  return cast ? parameter + "::pg_catalog." + type.base : write_expression(type, parameter);
}

OwnedValue value_of(const Type& type, std::string_view text) {
  switch (type.kind) {
    case TypeClass::integer:
      if (auto v = read_integer(text)) return OwnedValue::of(ValueRef::of_integer(*v));
      return text_value(text);
    case TypeClass::boolean:
      return OwnedValue::of(ValueRef::of_integer(text == "true" || text == "t"));
    case TypeClass::real: {
      if (text == "Infinity" || text == "-Infinity") {
        const double infinity = std::numeric_limits<double>::infinity();
        return OwnedValue::of(ValueRef::of_real(text[0] == '-' ? -infinity : infinity));
      }
      if (type.single) {
        float v = 0;  // as the float that it is, then widened: exact
        auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
        if (error == std::errc() && end == text.data() + text.size() && !std::isnan(v))
          return OwnedValue::of(ValueRef::of_real(v));
      } else if (auto v = read_real(text)) {
        return OwnedValue::of(ValueRef::of_real(*v));
      }
      return text_value(text);
    }
    case TypeClass::numeric:
      return numeric_value(text);
    case TypeClass::timestamptz:
      return text_value(utc_text(text));
    case TypeClass::bytea: {
      auto bytes = from_hex(text);
      return OwnedValue::of(ValueRef::of_blob(bytes ? BytesView(*bytes) : BytesView()));
    }
    default:
      return text_value(text);
  }
}

Result<std::string> text_of(const Type& type, const ValueRef& value) {
  switch (value.type) {
    case ValueType::null:
      return std::string();
    case ValueType::blob:
      if (type.kind != TypeClass::bytea) return unfit(type, "a blob");
      return to_hex(value.bytes);
    case ValueType::text:
      if (type.kind == TypeClass::bytea) return unfit(type, "text");
      if (value.bytes.find('\0') != std::string_view::npos) return unfit(type, "text with a NUL character");
      if (!is_storable_text(value.bytes)) return unfit(type, "text that is not UTF-8");
      return std::string(value.bytes);
    case ValueType::integer:
      if (type.kind == TypeClass::bytea) return unfit(type, "an integer");
      if (type.kind == TypeClass::boolean && (value.integer == 0 || value.integer == 1))
        return std::string(value.integer ? "true" : "false");
      if (type.kind == TypeClass::integer && (value.integer < type.least || value.integer > type.most))
        return unfit(type, "the integer " + std::to_string(value.integer));
      return std::to_string(value.integer);
    case ValueType::real:
      if (type.kind == TypeClass::bytea) return unfit(type, "a real");
      return print_real(value.real);
  }
  return std::string();
}

bool holds_key(const Type& type, const ValueRef& value) {
  char packed[16];
  switch (type.kind) {
    case TypeClass::integer:
      return value.type == ValueType::integer && value.integer >= type.least && value.integer <= type.most;
    case TypeClass::bytea:
      return value.type == ValueType::blob;
    case TypeClass::uuid:
      return value.type == ValueType::text && uuid_pack(value.bytes, packed);
    case TypeClass::timestamptz:
    case TypeClass::timestamp:
    case TypeClass::date:
      return value.type == ValueType::text && is_moment(type.kind, value.bytes);
    default:
      return value.type == ValueType::text && is_storable_text(value.bytes);
  }
}

Result<std::string> key_text_of(const Type& type, const ValueRef& value) {
  bool fits = false;
  const std::string_view text = value.bytes;
  switch (type.kind) {
    case TypeClass::integer:
      fits = value.type == ValueType::integer;
      break;
    case TypeClass::bytea:
      fits = value.type == ValueType::blob;
      break;
    case TypeClass::uuid: {
      char packed[16];
      fits = value.type == ValueType::text && uuid_pack(text, packed);
      break;
    }
    case TypeClass::timestamptz:
      fits = value.type == ValueType::text && canonical_time_stamp(text, 'T', "Z") && is_moment(type.kind, text);
      break;
    case TypeClass::timestamp:
      fits = value.type == ValueType::text && canonical_time_stamp(text, ' ', "") && is_moment(type.kind, text);
      break;
    case TypeClass::date:
      fits = value.type == ValueType::text && (digits_like(text, "0000-00-00") || infinite(text)) &&
             is_moment(type.kind, text);
      break;
    default:
      fits = value.type == ValueType::text;
  }
  if (!fits)
    return fail(Code::bad_argument,
                "the key's value is not one that a column of type " + type.sql + " gives back as it was sent");
  return text_of(type, value);
}

bool names_tenant(const Type& type, std::string_view tenant) {
  if (type.kind == TypeClass::integer) {
    auto v = read_integer(tenant);
    return v && *v >= type.least && *v <= type.most && std::to_string(*v) == tenant;
  }
  return is_storable_text(tenant) &&
         (type.kind == TypeClass::text || key_text_of(type, ValueRef::of_text(tenant)).ok());
}

bool comes_back(const Type& type, const ValueRef& v) {
  if (v.type == ValueType::null) return true;
  switch (type.kind) {
    case TypeClass::integer:
    case TypeClass::boolean:
      return v.type == ValueType::integer;
    case TypeClass::real:
      return v.type == ValueType::real && !type.single;
    case TypeClass::numeric:
      return v.type == ValueType::integer && type.sql == "numeric";
    case TypeClass::text:
      return v.type == ValueType::text && type.sql == "text";
    case TypeClass::json:
      return v.type == ValueType::text && type.sql == "json";
    case TypeClass::bytea:
      return true;
    case TypeClass::uuid:
    case TypeClass::date:
      return key_text_of(type, v).ok();
    default:
      return false;
  }
}

}  // namespace rejoin::postgres
