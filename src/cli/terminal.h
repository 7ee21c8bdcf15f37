// How things look on a terminal: colours, widths of text, tables. Everything here is also safe for data that others
// wrote: control characters never reach the terminal.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace rejoin::cli {

enum class Color { none, bold, dim, red, green, yellow, cyan };

// Is this stream (1 stdout, 2 stderr) a terminal that wants colours? NO_COLOR (no-color.org) and TERM=dumb turn them
// off.
bool wants_color(int fd);
bool is_terminal(int fd);
// Columns of the terminal behind the stream; 0 when it is none.
int terminal_columns(int fd);

// `text` in a colour when `on`.
std::string paint(bool on, Color color, std::string_view text);

// Control characters, and bytes that are not UTF-8, as \n, \t, \x1b and so on.
std::string printable(std::string_view text);
// Terminal cells that printable text takes: wide characters (East Asian, emoji) two, combining ones none.
int display_width(std::string_view text);
// Cut to `width` cells, the last one "…" if anything was cut.
std::string shorten(std::string_view text, int width);

// Columns with a header, aligned with blanks. Cells must be printable.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> header);
  void align_right(size_t column);
  void add(std::vector<std::string> cells, Color color = Color::none);
  bool empty() const { return rows_.empty(); }
  // `max_width` 0: nothing is cut; otherwise the widest columns are, down to 8 cells.
  std::string text(int max_width, bool color) const;

 private:
  struct Row {
    std::vector<std::string> cells;
    Color color;
  };
  std::vector<std::string> header_;
  std::vector<bool> right_;
  std::vector<Row> rows_;
};

}  // namespace rejoin::cli
