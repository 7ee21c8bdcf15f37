#include "net/compress.h"

#include <zstd.h>

#include <algorithm>
#include <memory>
#include <string>

namespace rejoin::net {
namespace {

constexpr int kWindowLogMax = 23;
constexpr size_t kStep = 64 << 10;

struct FreeContext {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

}  // namespace

Bytes zstd_compress(BytesView in, int level) {
  Bytes out(ZSTD_compressBound(in.size()), '\0');
  const size_t n = ZSTD_compress(out.data(), out.size(), in.data(), in.size(), level);
  out.resize(ZSTD_isError(n) ? 0 : n);
  return out;
}

Result<Bytes> zstd_decompress(BytesView in, uint64_t max_bytes) {
  max_bytes = std::min<uint64_t>(max_bytes, INT64_MAX);
  std::unique_ptr<ZSTD_DCtx, FreeContext> context(ZSTD_createDCtx());
  if (!context) return fail(Code::overloaded, "no memory for decompressing the body");
  ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, kWindowLogMax);

  Bytes out;
  ZSTD_inBuffer source{in.data(), in.size(), 0};
  size_t hint = 1;  // 0 once a frame is complete
  bool flushed = true;
  while (source.pos < source.size || (hint != 0 && !flushed)) {
    if (out.size() > max_bytes) break;
    const size_t before = out.size();
    // One byte beyond the limit is asked for, so that "exactly the limit" and "more" can be told apart.
    const size_t room = static_cast<size_t>(std::min<uint64_t>(std::max(kStep, before), max_bytes - before + 1));
    out.resize(before + room);
    ZSTD_outBuffer sink{out.data() + before, room, 0};
    hint = ZSTD_decompressStream(context.get(), &sink, &source);
    out.resize(before + sink.pos);
    if (ZSTD_isError(hint))
      return fail(Code::corrupt, std::string("the zstd body is damaged: ") + ZSTD_getErrorName(hint));
    flushed = sink.pos < sink.size;
  }
  if (out.size() > max_bytes)
    return fail(Code::too_large, "the body has more than " + std::to_string(max_bytes) +
                                     " bytes after decompression, which is the limit");
  if (hint != 0) return fail(Code::corrupt, "the zstd body is cut short");
  return out;
}

}  // namespace rejoin::net
