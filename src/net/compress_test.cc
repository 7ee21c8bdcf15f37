#include "net/compress.h"

#include <gtest/gtest.h>
#include <zstd.h>

#include <string>

namespace rejoin::net {
namespace {

TEST(Compress, ComesBack) {
  for (size_t n : {size_t{0}, size_t{1}, size_t{1000}, size_t{1} << 20}) {
    Bytes in(n, 'x');
    for (size_t i = 0; i < n; i += 7) in[i] = static_cast<char>(i * 31);
    const Result<Bytes> out = zstd_decompress(zstd_compress(in), n);
    ASSERT_TRUE(out.ok()) << out.error().message;
    EXPECT_EQ(*out, in);
  }
}

TEST(Compress, BombsAreStoppedAtTheLimit) {
  const Bytes bomb = zstd_compress(Bytes(64 << 20, '\0'), 19);
  EXPECT_LT(bomb.size(), 10'000u);
  const Result<Bytes> out = zstd_decompress(bomb, 1 << 20);
  ASSERT_FALSE(out.ok());
  EXPECT_EQ(out.error().code, Code::too_large);
  EXPECT_EQ(zstd_decompress(bomb, (64 << 20) - 1).error().code, Code::too_large);
  EXPECT_TRUE(zstd_decompress(bomb, 64 << 20).ok());
  Bytes many;  // frames one after another count together
  for (int i = 0; i < 100; ++i) many += zstd_compress(Bytes(20'000, 'y'));
  EXPECT_EQ(zstd_decompress(many, 1'000'000).error().code, Code::too_large);
  EXPECT_TRUE(zstd_decompress(many, 2'000'000).ok());
}

TEST(Compress, HugeWindowsAreRefused) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 27);
  ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
  const Bytes in(16 << 20, 'z');
  Bytes out(ZSTD_compressBound(in.size()), '\0');
  ZSTD_inBuffer source{in.data(), in.size(), 0};
  ZSTD_outBuffer sink{out.data(), out.size(), 0};
  while (ZSTD_compressStream2(context, &sink, &source, source.pos < in.size() ? ZSTD_e_continue : ZSTD_e_end) != 0 ||
         source.pos < in.size()) {
  }
  ZSTD_freeCCtx(context);
  out.resize(sink.pos);
  EXPECT_EQ(zstd_decompress(out, 1ull << 30).error().code, Code::corrupt);
}

TEST(Compress, DamageIsNoticed) {
  Bytes in;
  for (int i = 0; i < 5000; ++i) in += std::to_string(i * 7919);
  const Bytes good = zstd_compress(in);
  for (size_t n = 0; n < good.size(); ++n)
    EXPECT_FALSE(zstd_decompress(BytesView(good).substr(0, n), 1 << 20).ok() && n != 0) << n;
  EXPECT_EQ(zstd_decompress("not zstd at all", 100).error().code, Code::corrupt);
  EXPECT_EQ(zstd_decompress(good + "tail", 1 << 20).error().code, Code::corrupt);
}

}  // namespace
}  // namespace rejoin::net
