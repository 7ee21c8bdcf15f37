// What the command line reads and prints, apart from the commands (those are in tests/command_line_test.py).
#include <gtest/gtest.h>

#include "cli/exit_code.h"
#include "cli/suggest.h"
#include "cli/terminal.h"
#include "cli/units.h"

namespace rejoin::cli {
namespace {

TEST(Units, DurationsAreReadAsPeopleWriteThem) {
  EXPECT_EQ(*parse_duration("30d"), 30 * int64_t{86'400'000});
  EXPECT_EQ(*parse_duration("12h"), 43'200'000);
  EXPECT_EQ(*parse_duration("90s"), 90'000);
  EXPECT_EQ(*parse_duration("90"), 90'000);
  EXPECT_EQ(*parse_duration("250ms"), 250);
  for (const char* wrong : {"", "d", "-1s", "1.5h", "3 d", "1x", "99999999999999999999d", "9223372036854775807d"})
    EXPECT_EQ(parse_duration(wrong).error().code, Code::bad_argument) << wrong;
}

TEST(Units, SizesAreReadAsPeopleWriteThem) {
  EXPECT_EQ(*parse_size("100"), 100u);
  EXPECT_EQ(*parse_size("64M"), 64u << 20);
  EXPECT_EQ(*parse_size("64MiB"), 64u << 20);
  EXPECT_EQ(*parse_size("1k"), 1024u);
  EXPECT_EQ(*parse_size("2GB"), 2ull << 30);
  for (const char* wrong : {"", "M", "-1", "1.5M", "1 M", "99999999999T"})
    EXPECT_EQ(parse_size(wrong).error().code, Code::bad_argument) << wrong;
}

TEST(Units, QuantitiesReadWell) {
  EXPECT_EQ(count_text(0), "0");
  EXPECT_EQ(count_text(999), "999");
  EXPECT_EQ(count_text(1'234'567), "1,234,567");
  EXPECT_EQ(counted(1, "row"), "1 row");
  EXPECT_EQ(counted(2, "log entry", "log entries"), "2 log entries");
  EXPECT_EQ(bytes_text(1), "1 byte");
  EXPECT_EQ(bytes_text(3'440), "3.4 kB");
  EXPECT_EQ(bytes_text(999'999), "1.0 MB");
  EXPECT_EQ(bytes_text(~uint64_t{0}), "18 EB");
  EXPECT_EQ(duration_text(90'000), "1 min");
}

TEST(Units, HexAndBase64RefuseWhatIsNeither) {
  std::string bytes;
  EXPECT_TRUE(from_hex("00fF", bytes));
  EXPECT_EQ(bytes, std::string("\0\xff", 2));
  EXPECT_FALSE(from_hex("0", bytes));
  EXPECT_FALSE(from_hex("zz", bytes));
  EXPECT_TRUE(from_base64("AP8=", bytes));
  EXPECT_EQ(bytes, std::string("\0\xff", 2));
  EXPECT_TRUE(from_base64("_-8", bytes));
  EXPECT_FALSE(from_base64("A", bytes));
  EXPECT_FALSE(from_base64("A*==", bytes));
}

TEST(Terminal, DataCannotSendControlCharacters) {
  EXPECT_EQ(printable("a\x1b[31mb\n\t\r\x7f"), "a\\x1b[31mb\\n\\t\\r\\x7f");
  EXPECT_EQ(printable(std::string_view("\0", 1)), "\\x00");
  EXPECT_EQ(printable("\xc2\x9b"), "\\xc2\\x9b");           // a C1 control
  EXPECT_EQ(printable("\xe2\x80\xae"), "\\xe2\\x80\\xae");  // right-to-left override
  EXPECT_EQ(printable("\xff\xc3(ü🛳"), "\\xff\\xc3(ü🛳");
  EXPECT_EQ(printable("\xc0\x80\xed\xa0\x80"), "\\xc0\\x80\\xed\\xa0\\x80");  // overlong, surrogate
}

TEST(Terminal, WidthsAreInCells) {
  EXPECT_EQ(display_width("abc"), 3);
  EXPECT_EQ(display_width("Türkiye"), 7);
  EXPECT_EQ(display_width("e\xcc\x81"), 1);  // combining accent
  EXPECT_EQ(display_width("日本"), 4);
  EXPECT_EQ(display_width("🇩🇪"), 2);
  EXPECT_EQ(shorten("Türkiye", 4), "Tür…");
  EXPECT_EQ(shorten("日本語", 4), "日…");
  EXPECT_EQ(shorten("abc", 3), "abc");
}

TEST(Terminal, TablesAlignAndCutTheWidestColumnOnly) {
  TextTable table({"N", "NAME"});
  table.align_right(0);
  table.add({"1", "Åland"});
  table.add({"22", "a very long name that does not fit"});
  EXPECT_EQ(table.text(0, false), " N  NAME\n 1  Åland\n22  a very long name that does not fit\n");
  EXPECT_EQ(table.text(20, false), " N  NAME\n 1  Åland\n22  a very long nam…\n");
}

TEST(Suggest, TyposAreRecognised) {
  const std::vector<std::string> tables = {"countries", "languages", "todos", "currencies"};
  EXPECT_EQ(near_names("todo", tables), std::vector<std::string>{"todos"});
  EXPECT_EQ(near_names("tdoos", tables), std::vector<std::string>{"todos"});
  EXPECT_EQ(near_names("COUNTRIS", tables), std::vector<std::string>{"countries"});
  EXPECT_EQ(near_names("lang", tables), std::vector<std::string>{"languages"});
  EXPECT_TRUE(near_names("something else", tables).empty());
  EXPECT_TRUE(near_names("", tables).empty());
  EXPECT_EQ(did_you_mean("todo", tables), " Did you mean 'todos'?");
  EXPECT_EQ(near_names("c", {"c"}), std::vector<std::string>{"c"});
  EXPECT_EQ(near_names("co", tables), std::vector<std::string>{"countries"});
}

TEST(Suggest, ShortNamesAreNotTakenForEachOther) {
  EXPECT_TRUE(near_names("v", {"c", "n"}).empty());
  EXPECT_TRUE(near_names("ab", {"ac", "b"}).empty());
}

TEST(ExitCode, EveryErrorHasOneAndNoneLooksLikeSuccess) {
  for (uint64_t n = 1; n < 1000; ++n)
    if (std::optional<Code> code = code_from_number(n)) {
      EXPECT_NE(exit_code_of(*code), kOk) << code_name(*code);
      if (code_retryable(*code)) {
        EXPECT_NE(exit_code_of(*code), kFailed) << code_name(*code);
      }
    }
}

}  // namespace
}  // namespace rejoin::cli
