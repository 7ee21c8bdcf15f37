// Changesets that were written once are read for ever: the frames of tests/golden, byte by byte, and the example in the
// documentation. After a deliberate change of the format, REJOIN_WRITE_GOLDEN=1 writes what today's code makes; old
// files stay under a name of their own.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "codec/changeset_golden.h"
#include "codec/print.h"

namespace rejoin::codec {
namespace {

const std::string kRoot = REJOIN_SOURCE_DIR;

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path << " can't be read";
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

void write_file(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

TEST(ChangesetGolden, todays_writer_makes_the_golden_files) {
  for (const auto& [name, sample] : samples::golden_samples()) {
    std::string path = kRoot + "/tests/golden/" + name;
    Bytes frame = sample.frame();
    if (std::getenv("REJOIN_WRITE_GOLDEN")) {
      write_file(path + ".changeset", frame);
      write_file(path + ".changeset.txt", changeset_text(frame));
      write_file(path + ".changeset.json", changeset_json(frame) + "\n");
    }
    EXPECT_EQ(to_hex(frame), to_hex(read_file(path + ".changeset"))) << name;
  }
}

TEST(ChangesetGolden, todays_reader_reads_every_golden_file) {
  size_t found = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kRoot + "/tests/golden")) {
    if (entry.path().extension() != ".changeset") continue;
    ++found;
    std::string path = entry.path().string();
    Bytes frame = read_file(path);
    EXPECT_EQ(changeset_text(frame), read_file(path + ".txt")) << path;
    EXPECT_EQ(changeset_json(frame) + "\n", read_file(path + ".json")) << path;
  }
  EXPECT_GE(found, samples::golden_samples().size());
}

// The documentation spells the example's bytes in lines "| 52 4a 43 31 | what they are |".
TEST(ChangesetGolden, the_documented_example_is_what_the_writer_makes) {
  std::istringstream doc(read_file(kRoot + "/docs/formats-changeset.md"));
  std::string line, hex;
  bool example = false;
  while (std::getline(doc, line)) {
    if (line.starts_with("## ")) example = line == "## A worked example";
    if (!example || !line.starts_with("| ")) continue;
    std::string cell = line.substr(2, line.find('|', 2) - 2);
    if (cell.find_first_not_of("0123456789abcdef ") != std::string::npos) continue;
    for (char c : cell)
      if (c != ' ') hex += c;
  }
  EXPECT_EQ(hex, to_hex(samples::golden_example().frame()));
}

}  // namespace
}  // namespace rejoin::codec
