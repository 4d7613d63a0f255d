/* Part of store.c: the pattern that every object is made of, and MD5, CRC32, CRC32C and CRC64NVME of bodies.
 *
 * A body that equals the pattern costs a memcmp: its digests are known by its length. From the first byte that differs
 * on they are computed, by table, at some hundred megabytes a second. */
#define PERIOD (1 << 20)
static u8 pattern[2 * PERIOD]; /* twice, so that a period may begin anywhere */

typedef struct { u32 s[4]; u64 n; u8 b[64]; } Md5;
static u32 md5_k[64];
static const u8 md5_r[] = {7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21};
static void md5_init(Md5 *m) { *m = (Md5){{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}, 0, {0}}; }
static void md5_block(Md5 *m, const u8 *p) {
  u32 w[16], a = m->s[0], b = m->s[1], c = m->s[2], d = m->s[3];
  memcpy(w, p, 64);
  for (int i = 0; i < 64; i++) {
    u32 f, g;
    if (i < 16) f = (b & c) | (~b & d), g = i;
    else if (i < 32) f = (d & b) | (~d & c), g = (5 * i + 1) & 15;
    else if (i < 48) f = b ^ c ^ d, g = (3 * i + 5) & 15;
    else f = c ^ (b | ~d), g = (7 * i) & 15;
    u32 t = a + f + md5_k[i] + w[g], r = md5_r[i / 16 * 4 + (i & 3)];
    a = d; d = c; c = b; b += t << r | t >> (32 - r);
  }
  m->s[0] += a; m->s[1] += b; m->s[2] += c; m->s[3] += d;
}
static void md5_add(Md5 *m, const u8 *p, size_t n) {
  size_t have = m->n & 63;
  m->n += n;
  if (have) {
    size_t take = 64 - have < n ? 64 - have : n;
    memcpy(m->b + have, p, take); p += take; n -= take;
    if (have + take < 64) return;
    md5_block(m, m->b);
  }
  for (; n >= 64; p += 64, n -= 64) md5_block(m, p);
  memcpy(m->b, p, n);
}
static void md5_end(Md5 *m, u8 out[16]) {
  u64 bits = m->n * 8;
  md5_add(m, (const u8 *)"\x80", 1);
  while ((m->n & 63) != 56) md5_add(m, (const u8 *)"", 1);
  md5_add(m, (u8 *)&bits, 8);
  memcpy(out, m->s, 16);
}
enum { CRC64, CRC32C, CRC32, CRCS };
static const char *crc_name[] = {"crc64nvme", "crc32c", "crc32"};
static const u64 crc_poly[] = {0x9A6C9329AC4BC9B5, 0x82F63B78, 0xEDB88320};
static const u64 crc_ones[] = {~0ull, 0xFFFFFFFF, 0xFFFFFFFF};
static u64 crc_table[CRCS][256];
static u64 crc_add(int which, u64 crc, const u8 *p, size_t n) { /* crc starts and ends as `crc_ones` inverted, zlib's way */
  crc ^= crc_ones[which];
  while (n--) crc = crc_table[which][(u8)crc ^ *p++] ^ crc >> 8;
  return crc ^ crc_ones[which];
}
static void digest_tables(void) {
  for (int w = 0; w < CRCS; w++)
    for (u64 i = 0; i < 256; i++) {
      u64 c = i;
      for (int k = 0; k < 8; k++) c = c & 1 ? c >> 1 ^ crc_poly[w] : c >> 1;
      crc_table[w][i] = c;
    }
  double pi = 3.14159265358979323846;
  for (int i = 0; i < 64; i++) { /* floor(2^32 * |sin(i + 1)|), without libm: reduce, then the series */
    double x = i + 1, term, sum = 0;
    while (x > pi) x -= 2 * pi;
    term = x;
    for (int k = 1; k < 30; k++) { sum += term; term *= -x * x / (2 * k * (2 * k + 1)); }
    md5_k[i] = (u32)((sum < 0 ? -sum : sum) * 4294967296.0);
  }
}
typedef struct { Md5 md5; u64 crc[CRCS]; u64 n; int odd; } Digest; /* `odd`: no longer equal to the pattern */
typedef struct { u64 size; u8 md5[16], has_md5, has_crc[CRCS]; u64 crc[CRCS]; } Known;
static Known known[4096]; /* digests of the pattern's first `size` bytes */
static Known *known_size(u64 size) {
  Known *k = &known[(size * 0x9E3779B97F4A7C15ull) >> 52];
  if (k->size != size) *k = (Known){.size = size};
  return k;
}
static void digest_raw(Digest *d, const u8 *p, size_t n) {
  md5_add(&d->md5, p, n);
  for (int w = 0; w < CRCS; w++) d->crc[w] = crc_add(w, d->crc[w], p, n);
}
static void digest_init(Digest *d) { d->n = 0; d->odd = 0; }
static void digest_add(Digest *d, const u8 *p, size_t n) {
  if (!d->odd) {
    size_t done = 0;
    while (done < n) {
      size_t take = n - done < PERIOD ? n - done : PERIOD;
      if (memcmp(p + done, pattern + (d->n + done) % PERIOD, take)) break;
      done += take;
    }
    if (done == n) { d->n += n; return; }
    d->odd = 1;
    md5_init(&d->md5); memset(d->crc, 0, sizeof d->crc);
    for (u64 i = 0; i < d->n; i += PERIOD) digest_raw(d, pattern, d->n - i < PERIOD ? d->n - i : PERIOD);
  }
  digest_raw(d, p, n);
  d->n += n;
}
static void digest_md5(Digest *d, u8 out[16]) {
  if (d->odd) { Md5 m = d->md5; md5_end(&m, out); return; }
  Known *k = known_size(d->n);
  if (!k->has_md5) {
    Md5 m; md5_init(&m);
    for (u64 i = 0; i < d->n; i += PERIOD) md5_add(&m, pattern, d->n - i < PERIOD ? d->n - i : PERIOD);
    md5_end(&m, k->md5); k->has_md5 = 1;
  }
  memcpy(out, k->md5, 16);
}
static u64 digest_crc(Digest *d, int w) {
  if (d->odd) return d->crc[w];
  Known *k = known_size(d->n);
  if (!k->has_crc[w]) {
    for (u64 i = k->crc[w] = 0; i < d->n; i += PERIOD) k->crc[w] = crc_add(w, k->crc[w], pattern, d->n - i < PERIOD ? d->n - i : PERIOD);
    k->has_crc[w] = 1;
  }
  return k->crc[w];
}
static void base64(const u8 *p, int n, char *out) {
  static const char a[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (int i = 0; i < n; i += 3) {
    u32 v = p[i] << 16 | (i + 1 < n ? p[i + 1] << 8 : 0) | (i + 2 < n ? p[i + 2] : 0);
    *out++ = a[v >> 18]; *out++ = a[v >> 12 & 63];
    *out++ = i + 1 < n ? a[v >> 6 & 63] : '='; *out++ = i + 2 < n ? a[v & 63] : '=';
  }
  *out = 0;
}
static void crc_text(int w, u64 crc, char *out) {
  u8 b[8]; int n = w == CRC64 ? 8 : 4;
  for (int i = 0; i < n; i++) b[i] = crc >> 8 * (n - 1 - i);
  base64(b, n, out);
}
static void hex(const u8 *p, char *out) { for (int i = 0; i < 16; i++) sprintf(out + 2 * i, "%02x", p[i]); }

