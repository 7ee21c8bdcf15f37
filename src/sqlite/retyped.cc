#include "sqlite/retyped.h"

#include <cctype>
#include <charconv>
#include <cmath>

#include "sqlite/base_writer.h"

namespace rejoin::sqlite {
namespace {

constexpr double kIntegers = 9223372036854775808.0;  // 2^63

bool is_numeric(Affinity a) { return a == Affinity::integer || a == Affinity::numeric || a == Affinity::real; }

// -0.0 is no integer: it could not be told from 0 again.
bool is_integral(double r) {
  return r >= -kIntegers && r < kIntegers && r == std::floor(r) && !(r == 0 && std::signbit(r));
}

// The same integer; beyond 2^53 most have none.
std::optional<double> exact_real(int64_t i) {
  const auto r = static_cast<double>(i);
  if (!is_integral(r) || static_cast<int64_t>(r) != i) return {};
  return r;
}

std::optional<double> real_of(BytesView text) {
  double r = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), r);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return r;
}

// As SQLite writes it.
Bytes text_of(double r) {
  char out[64];
  sqlite3_snprintf(sizeof out, out, "%!.15g", r);
  return out;
}

OwnedValue owned_text(Bytes bytes) {
  OwnedValue out;
  out.scalar.type = crdt::ValueType::text;
  out.bytes = std::move(bytes);
  return out;
}
OwnedValue owned_number(const crdt::ValueRef& v) { return {v, {}}; }

std::optional<OwnedValue> from_integer(int64_t i, Affinity affinity) {
  if (affinity == Affinity::text) return owned_text(std::to_string(i));
  const std::optional<double> r = exact_real(i);
  if (!r) return {};
  return owned_number(crdt::ValueRef::of_real(*r));
}

std::optional<OwnedValue> from_text(BytesView v, Affinity affinity) {
  int64_t i = 0;
  const auto [end, error] = std::from_chars(v.data(), v.data() + v.size(), i);
  if (error == std::errc() && end == v.data() + v.size()) {
    if (std::to_string(i) != v) return {};
    return affinity == Affinity::real ? from_integer(i, affinity) : owned_number(crdt::ValueRef::of_integer(i));
  }
  const std::optional<double> r = real_of(v);
  if (!r || !std::isfinite(*r) || *r == std::floor(*r) || text_of(*r) != v) return {};
  return owned_number(crdt::ValueRef::of_real(*r));
}

std::optional<OwnedValue> from_real(double r, Affinity affinity) {
  if (is_integral(r)) {
    const auto i = static_cast<int64_t>(r);
    return affinity == Affinity::text ? owned_text(std::to_string(i)) : owned_number(crdt::ValueRef::of_integer(i));
  }
  if (affinity != Affinity::text || !std::isfinite(r) || r == std::floor(r)) return {};
  Bytes out = text_of(r);
  if (real_of(out) != r) return {};
  return owned_text(std::move(out));
}

// Text that SQLite reads as a number, by its value.
std::optional<double> loose_real_of(BytesView v) {
  while (!v.empty() && std::isspace(static_cast<unsigned char>(v.front()))) v.remove_prefix(1);
  while (!v.empty() && std::isspace(static_cast<unsigned char>(v.back()))) v.remove_suffix(1);
  if (!v.empty() && v.front() == '+') v.remove_prefix(1);
  return real_of(v);
}

}  // namespace

std::optional<OwnedValue> same_number(const crdt::ValueRef& v, Affinity affinity) {
  switch (v.type) {
    case crdt::ValueType::integer:
      return from_integer(v.integer, affinity);
    case crdt::ValueType::real:
      return from_real(v.real, affinity);
    case crdt::ValueType::text:
      return from_text(v.bytes, affinity);
    default:
      return {};
  }
}

bool has_other_form(const crdt::ValueRef& v) {
  return same_number(v, v.type == crdt::ValueType::text ? Affinity::numeric : Affinity::text).has_value();
}

bool is_conversion(const crdt::ValueRef& was, const crdt::ValueRef& now, Affinity affinity) {
  using crdt::ValueType;
  const auto real = [](const crdt::ValueRef& v) {
    return v.type == ValueType::integer ? static_cast<double>(v.integer) : v.real;
  };
  const bool number_was = was.type == ValueType::integer || was.type == ValueType::real;
  const bool number_is = now.type == ValueType::integer || now.type == ValueType::real;
  if (affinity == Affinity::text)
    return number_was && now.type == ValueType::text &&
           now.bytes == (was.type == ValueType::integer ? std::to_string(was.integer) : text_of(was.real));
  if (!is_numeric(affinity) || !number_is) return false;
  if (number_was) return real(was) == real(now);
  if (was.type != ValueType::text) return false;
  const std::optional<double> r = loose_real_of(was.bytes);
  // SQLite may read the last digits of a long number in another way.
  return r && std::fabs(*r - real(now)) <= 1e-14 * std::fabs(*r);
}

bool fit_columns(const Table& table, const crdt::ColumnSet& columns, std::vector<crdt::ValueRef>& values,
                 std::vector<OwnedValue>& kept) {
  bool fit = true;
  columns.each([&](uint32_t c) {
    const Affinity affinity = table.columns[c].affinity;
    if (!BaseWriter::altered_by_affinity(values[c], affinity)) return;
    std::optional<OwnedValue> v = same_number(values[c], affinity);
    fit = fit && v;
    if (!v) return;
    kept.resize(table.columns.size());
    kept[c] = std::move(*v);
    values[c] = kept[c].ref();
  });
  return fit;
}

}  // namespace rejoin::sqlite
