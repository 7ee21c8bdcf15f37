#include "cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace rejoin::cli {
namespace {

// One code point at `i`, which moves past it; -1 and one byte for what is not UTF-8 (overlong forms and surrogates
// included).
int32_t next_code_point(std::string_view s, size_t& i) {
  auto byte = [&](size_t k) -> uint32_t { return k < s.size() ? static_cast<unsigned char>(s[k]) : 0; };
  uint32_t a = byte(i);
  if (a < 0x80) return ++i, static_cast<int32_t>(a);
  int n = a >= 0xf0 && a <= 0xf4 ? 3 : a >= 0xe0 && a < 0xf0 ? 2 : a >= 0xc2 && a < 0xe0 ? 1 : 0;
  uint32_t c = n == 3 ? a & 7 : n == 2 ? a & 15 : a & 31;
  for (int k = 1; k <= n; ++k) {
    if ((byte(i + k) & 0xc0) != 0x80) n = 0;
    c = c << 6 | (byte(i + k) & 63);
  }
  static constexpr uint32_t kSmallest[] = {0, 0x80, 0x800, 0x10000};
  if (n == 0 || c < kSmallest[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return ++i, -1;
  i += static_cast<size_t>(n) + 1;
  return static_cast<int32_t>(c);
}

struct Range {
  int32_t first, last;
};

bool in(int32_t c, const Range* ranges, size_t n) {
  return std::any_of(ranges, ranges + n, [c](Range r) { return c >= r.first && c <= r.last; });
}

int width_of(int32_t c) {
  static constexpr Range kZero[] = {{0x300, 0x36f},   {0x483, 0x489},   {0x591, 0x5bd},   {0x610, 0x61a},
                                    {0x64b, 0x65f},   {0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f},
                                    {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xfeff, 0xfeff}};
  // A pair of regional indicators shows as one flag of two cells: one each.
  static constexpr Range kWide[] = {{0x1100, 0x115f},   {0x2e80, 0x303e},   {0x3041, 0xa4cf},   {0xac00, 0xd7a3},
                                    {0xf900, 0xfaff},   {0xfe30, 0xfe6f},   {0xff00, 0xff60},   {0xffe0, 0xffe6},
                                    {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd}};
  if (in(c, kZero, std::size(kZero))) return 0;
  return in(c, kWide, std::size(kWide)) ? 2 : 1;
}

// Bidirectional overrides can make a line read as what it is not.
bool is_control(int32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

std::string hex2(unsigned v) {
  static constexpr char kDigits[] = "0123456789abcdef";
  return {kDigits[v >> 4 & 15], kDigits[v & 15]};
}

const char* code_of(Color color) {
  switch (color) {
    case Color::bold:
      return "1";
    case Color::dim:
      return "2";
    case Color::red:
      return "31";
    case Color::green:
      return "32";
    case Color::yellow:
      return "33";
    case Color::cyan:
      return "36";
    case Color::none:
      break;
  }
  return "0";
}

}  // namespace

bool is_terminal(int fd) { return isatty(fd) == 1; }

bool wants_color(int fd) {
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  return is_terminal(fd) && !(no_color && *no_color) && !(term && std::strcmp(term, "dumb") == 0);
}

int terminal_columns(int fd) {
  winsize size{};
  if (!is_terminal(fd)) return 0;
  if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

std::string paint(bool on, Color color, std::string_view text) {
  if (!on || color == Color::none) return std::string(text);
  return std::string("\x1b[") + code_of(color) + "m" + std::string(text) + "\x1b[0m";
}

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    size_t start = i;
    int32_t c = next_code_point(text, i);
    if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else if (c == '\r')
      out += "\\r";
    else if (c < 0 || is_control(c))
      for (size_t k = start; k < i; ++k) out += "\\x" + hex2(static_cast<unsigned char>(text[k]));
    else
      out.append(text.substr(start, i - start));
  }
  return out;
}

int display_width(std::string_view text) {
  int width = 0;
  for (size_t i = 0; i < text.size();) {
    int32_t c = next_code_point(text, i);
    width += c < 0 ? 1 : width_of(c);
  }
  return width;
}

std::string shorten(std::string_view text, int width) {
  if (display_width(text) <= width) return std::string(text);
  int used = 0;
  size_t end = 0;
  for (size_t i = 0; i < text.size();) {
    int32_t c = next_code_point(text, i);
    used += c < 0 ? 1 : width_of(c);
    if (used > width - 1) break;
    end = i;
  }
  return std::string(text.substr(0, end)) + "…";
}

TextTable::TextTable(std::vector<std::string> header) : header_(std::move(header)), right_(header_.size()) {}

void TextTable::align_right(size_t column) { right_[column] = true; }

void TextTable::add(std::vector<std::string> cells, Color color) {
  cells.resize(header_.size());
  rows_.push_back({std::move(cells), color});
}

std::string TextTable::text(int max_width, bool color) const {
  static constexpr int kGap = 2, kLeast = 8;
  std::vector<int> widths(header_.size());
  for (size_t i = 0; i < header_.size(); ++i) {
    widths[i] = display_width(header_[i]);
    for (const Row& row : rows_) widths[i] = std::max(widths[i], display_width(row.cells[i]));
  }
  if (max_width > 0) {
    int total = kGap * (static_cast<int>(widths.size()) - 1);
    for (int w : widths) total += w;
    while (total > max_width) {
      auto widest = std::max_element(widths.begin(), widths.end());
      if (*widest <= kLeast) break;
      --*widest, --total;
    }
  }
  auto line = [&](const std::vector<std::string>& cells) {
    std::string out;
    for (size_t i = 0; i < cells.size(); ++i) {
      std::string cell = shorten(cells[i], widths[i]);
      std::string pad(static_cast<size_t>(std::max(0, widths[i] - display_width(cell))), ' ');
      out += right_[i] ? pad + cell : cell + pad;
      if (i + 1 < cells.size()) out.append(kGap, ' ');
    }
    out.erase(out.find_last_not_of(' ') + 1);
    return out;
  };
  std::string out = paint(color, Color::bold, line(header_)) + "\n";
  for (const Row& row : rows_) out += paint(color, row.color, line(row.cells)) + "\n";
  return out;
}

}  // namespace rejoin::cli
