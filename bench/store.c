/* store: an S3-like store that costs next to nothing, so that a benchmark measures the client.
 *
 *   cc -O2 -o store store.c            (HTTPS too: cc -O2 -DTLS -o store store.c -lssl -lcrypto)
 *   store [-a ADDRESS] -p PORT -k BUCKET:PREFIX:COUNT:SIZE[:PER_FOLDER[:PART]] ... [-r] [-l MS] [-s CERT.pem]
 *
 *   -k  COUNT objects of SIZE bytes exist: PREFIXf000000000 ... or, with PER_FOLDER, PREFIXd0000000/f000000000 ...
 *       With PART their ETags are those of multipart uploads in parts of PART bytes. May be given several times.
 *   -r  remember what is written (size, ETag, headers), so that HEAD, lists and a second run see it. Else writes vanish.
 *   -l  each answer is held back this many milliseconds, as a round trip would.
 *   -s  speak HTTPS with this certificate and key (if built with TLS).
 * Port 0 takes a free one; "port N" on stdout says which, once it listens. It listens on ADDRESS, else on 127.0.0.1.
 *
 * Every bucket exists. No object is stored: byte i of every object is PATTERN[i mod 1 MiB]. A body that arrives is
 * compared with the pattern as it comes (the price of a memcmp); where it is equal, its MD5 and CRCs are known by its
 * length alone, and where it is not, they are computed from there on. So ETags, Content-MD5 and CRC32, CRC32C and
 * CRC64NVME are right and verified for any body, and nearly free for bodies that were read from here.
 *
 * Speaks: ListBuckets, ListObjects V1 and V2 (prefix, delimiter, marker, start-after, continuation-token, max-keys,
 * encoding-type), GET and HEAD (Range, If-Match, If-None-Match; HEAD with a CRC64NVME of the whole, if asked), PUT (also aws-chunked), DELETE, DeleteObjects, multipart
 * uploads with ListParts and ListMultipartUploads, HeadBucket, GetBucketLocation. Path style. Doesn't: check signatures
 * or payload hashes, copy, versions, tags. GET /-/stats answers counters as JSON, POST /-/reset forgets everything.
 * One thread, edge-triggered epoll; one read and one write per small request. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#ifdef TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#endif

#define IN_SIZE (320 << 10)
#define HEAD_MAX (64 << 10)
#define POST_MAX (4 << 20)
typedef uint64_t u64;
typedef uint32_t u32;
typedef uint8_t u8;

#include "store_digest.h"
static int remember, delay_ms;
#include "store_keys.h"
static struct { u64 list, get, head, put, part, create, complete, abort, del, other, in, out, odd, bad, connections; } stats;

/* ---- growing text ---- */
typedef struct { char *p; size_t n, cap; } Buf;
static void room(Buf *b, size_t n) {
  if (b->n + n + 1 > b->cap) b->p = realloc(b->p, b->cap = (b->n + n + 1) * 2);
}
static void add(Buf *b, const char *s, size_t n) { room(b, n); memcpy(b->p + b->n, s, n); b->n += n; b->p[b->n] = 0; }
static void adds(Buf *b, const char *s) { add(b, s, strlen(s)); }
static void addf(Buf *b, const char *fmt, ...) {
  va_list ap, again;
  va_start(ap, fmt); va_copy(again, ap);
  int n = vsnprintf(NULL, 0, fmt, ap);
  room(b, n); vsnprintf(b->p + b->n, n + 1, fmt, again); b->n += n;
  va_end(ap); va_end(again);
}
static void add_text(Buf *b, const char *s, int url) { /* XML-escaped, or URL-encoded where the client asked for it */
  for (; *s; s++) {
    u8 c = *s;
    if (url) {
      if (strchr("-_.~/*", c) || isalnum(c)) add(b, s, 1);
      else addf(b, "%%%02X", c);
    } else if (c == '&') adds(b, "&amp;");
    else if (c == '<') adds(b, "&lt;");
    else if (c == '>') adds(b, "&gt;");
    else if (c < 32 || c == '"') addf(b, "&#%d;", c);
    else add(b, s, 1);
  }
}

/* ---- connections and requests ---- */
enum { READING, BODY, WAITING, SENDING };
typedef struct Conn {
  int fd, state, close, queued; struct Conn *next; u64 due;
  char in[IN_SIZE]; size_t in_n, head_n;
  char *method, *bucket, *key, *name_end, *query[24][2]; int queries;
  u64 length, left, decoded; int chunked, mode, asked[CRCS], bad_request;
  char *range, *if_match, *if_none, *content_md5, *copy_source, *crc_value[CRCS];
  Buf headers, post, out; size_t out_at; u64 send_from, send_left;
  Digest digest; int chunk_state; u64 chunk_left; char name[1400];
#ifdef TLS
  SSL *ssl;
#endif
} Conn;
static int epoll_fd;
static Conn *queue_head, **queue_tail = &queue_head; /* who goes on later; all waits are equal, so it is in order */
static u64 now_ms(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000ull + t.tv_nsec / 1000000; }
static void later(Conn *c, u64 due) { c->due = due; c->next = NULL; c->queued = 1; *queue_tail = c; queue_tail = &c->next; }

static const char *arg(Conn *c, const char *name) {
  for (int i = 0; i < c->queries; i++) if (!strcmp(c->query[i][0], name)) return c->query[i][1];
  return NULL;
}
static void decode(char *s, int plus) {
  char *o = s;
  unsigned v;
  for (; *s; s++)
    if (*s == '%' && sscanf(s + 1, "%2x", &v) == 1) *o++ = v, s += 2;
    else *o++ = plus && *s == '+' ? ' ' : *s;
  *o = 0;
}
static const char *http_date(time_t t) {
  static char text[2][40]; static time_t of[2]; static int turn;
  for (int i = 0; i < 2; i++) if (of[i] == t && t) return text[i];
  struct tm tm; turn ^= 1; of[turn] = t;
  strftime(text[turn], 40, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&t, &tm));
  return text[turn];
}
static const char *xml_date(time_t t) {
  static char text[40]; static time_t of; struct tm tm;
  if (of != t) { of = t; strftime(text, 40, "%Y-%m-%dT%H:%M:%S.000Z", gmtime_r(&t, &tm)); }
  return text;
}
static void begin(Conn *c, int status, const char *reason) {
  c->out.n = c->out_at = 0; c->send_left = 0;
  addf(&c->out, "HTTP/1.1 %d %s\r\nServer: bench\r\nDate: %s\r\nx-amz-request-id: 0\r\n", status, reason, http_date(time(NULL)));
}
static void finish(Conn *c, const char *type, Buf *body) {
  size_t n = body ? body->n : 0;
  if (type) addf(&c->out, "Content-Type: %s\r\n", type);
  addf(&c->out, "Content-Length: %zu\r\n\r\n", n);
  if (n && strcmp(c->method, "HEAD")) add(&c->out, body->p, n);
  if (body) free(body->p);
}
static void reply(Conn *c, int status, const char *reason) { begin(c, status, reason); finish(c, NULL, NULL); }
static void xml(Conn *c, Buf *b) { begin(c, 200, "OK"); finish(c, "application/xml", b); }
static void fail(Conn *c, int status, const char *code) {
  Buf b = {0};
  addf(&b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>%s</Message></Error>", code, code);
  if (status == 400) stats.bad++;
  begin(c, status, code); finish(c, "application/xml", &b);
}
#define XMLNS "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<%s xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"

/* ---- listing ---- */
typedef struct { Space *s; u64 i; long o; } Cursor; /* s NULL: among the remembered */
static void list(Conn *c) {
  int v2 = arg(c, "list-type") != NULL, url = arg(c, "encoding-type") != NULL, truncated = 0;
  const char *prefix = arg(c, "prefix") ?: "", *delimiter = arg(c, "delimiter") ?: "", *max = arg(c, "max-keys");
  const char *token = arg(c, v2 ? "continuation-token" : "marker"), *after = token ? token : arg(c, "start-after");
  if (v2 && token) after = ++token; /* a token is "t" and the last key or common prefix */
  long limit = max && atol(max) < 1000 ? atol(max) : 1000, n = 0;
  size_t prefix_n = strlen(prefix), bucket_n = strlen(c->bucket) + 1, delimiter_n = strlen(delimiter);
  char from[1400], key[1400], folder[1400] = "", last[1400] = "", name[2800];
  int exclusive = after && strcmp(after, prefix) >= 0, cursors = 0;
  snprintf(from, sizeof from, "%s", exclusive ? after : prefix);
  if (exclusive && token && delimiter_n && strlen(token) >= prefix_n + delimiter_n &&
      !strcmp(token + strlen(token) - delimiter_n, delimiter)) from[strlen(from) - 1]++, exclusive = 0; /* skip that folder */
  Cursor cursor[65];
  Buf page = {0}, folders = {0};
  object_sort();
reseek:
  cursors = 0;
  for (Space *s = spaces; s < spaces + space_count; s++)
    if (!strcmp(s->bucket, c->bucket)) cursor[cursors++] = (Cursor){s, space_seek(s, from, exclusive), 0};
  snprintf(name, sizeof name, "%s/%s", c->bucket, from);
  cursor[cursors++] = (Cursor){NULL, 0, object_seek(name, exclusive)};
  for (;;) {
    Cursor *best = NULL;
    Object *o = NULL;
    char candidate[1400];
    for (Cursor *k = cursor; k < cursor + cursors; k++) {
      if (k->s) {
        if (k->i == k->s->count) continue;
        space_key(k->s, k->i, candidate);
      } else {
        if (k->o == sorted_count || strncmp(sorted[k->o]->name, c->bucket, bucket_n - 1) || sorted[k->o]->name[bucket_n - 1] != '/') continue;
        strcpy(candidate, sorted[k->o]->name + bucket_n);
      }
      int order = best ? strcmp(candidate, key) : -1;
      if (order == 0) { if (k->s) k->i++; else { best->i++; best = k; } continue; } /* written over: the newer one */
      if (order < 0) { best = k; strcpy(key, candidate); }
    }
    if (!best || strncmp(key, prefix, prefix_n)) break;
    if (n == limit) { truncated = 1; break; }
    n++;
    char *cut = delimiter_n ? strstr(key + prefix_n, delimiter) : NULL;
    if (cut) {
      cut[delimiter_n] = 0;
      strcpy(folder, key); strcpy(last, key);
      adds(&folders, "<CommonPrefixes><Prefix>"); add_text(&folders, folder, url); adds(&folders, "</Prefix></CommonPrefixes>");
      strcpy(from, folder); from[strlen(from) - 1]++; exclusive = 0;
      goto reseek;
    }
    strcpy(last, key);
    if (!best->s) o = sorted[best->o++]; else best->i++;
    adds(&page, "<Contents><Key>"); add_text(&page, key, url);
    adds(&page, "</Key><LastModified>"); adds(&page, xml_date(o ? o->time : space_time));
    adds(&page, "</LastModified><ETag>&quot;"); adds(&page, o ? o->etag : best->s->etag);
    char number[24], *p = number + 23; u64 size = o ? o->size : best->s->size;
    for (*p = 0; size || !*p; size /= 10) *--p = '0' + size % 10;
    adds(&page, "&quot;</ETag><Size>"); adds(&page, p);
    adds(&page, "</Size><StorageClass>STANDARD</StorageClass>");
    if (!v2) adds(&page, "<Owner><ID>bench</ID><DisplayName>bench</DisplayName></Owner>");
    adds(&page, "</Contents>");
  }
  Buf b = {0};
  room(&b, page.n + folders.n + 4096);
  addf(&b, XMLNS "<Name>%s</Name><Prefix>", "ListBucketResult", c->bucket); add_text(&b, prefix, url);
  addf(&b, "</Prefix><MaxKeys>%ld</MaxKeys><IsTruncated>%s</IsTruncated>", limit, truncated ? "true" : "false");
  if (url) adds(&b, "<EncodingType>url</EncodingType>");
  if (delimiter_n) { adds(&b, "<Delimiter>"); add_text(&b, delimiter, url); adds(&b, "</Delimiter>"); }
  if (v2) addf(&b, "<KeyCount>%ld</KeyCount>", n);
  else { adds(&b, "<Marker>"); if (after) add_text(&b, after, url); adds(&b, "</Marker>"); }
  if (truncated && v2) { adds(&b, "<NextContinuationToken>t"); add_text(&b, last, 0); adds(&b, "</NextContinuationToken>"); }
  if (truncated && !v2 && delimiter_n) { adds(&b, "<NextMarker>"); add_text(&b, last, url); adds(&b, "</NextMarker>"); }
  if (page.n) add(&b, page.p, page.n);
  if (folders.n) add(&b, folders.p, folders.n);
  adds(&b, "</ListBucketResult>");
  free(page.p); free(folders.p);
  stats.list++;
  xml(c, &b);
}

/* ---- objects ---- */
static void kept_crc(Conn *c, u64 size) { /* of a whole object, for who asks HEAD for it */
  Digest d; char text[40];
  digest_init(&d); d.n = size;
  crc_text(CRC64, digest_crc(&d, CRC64), text);
  addf(&c->out, "x-amz-checksum-crc64nvme: %s\r\nx-amz-checksum-type: FULL_OBJECT\r\n", text);
}
static void get(Conn *c, int head) {
  if (arg(c, "attributes")) { stats.other++; fail(c, 501, "NotImplemented"); return; }
  Object *o = object_find(c->name);
  Space *s = o ? NULL : space_find(c->bucket, c->key);
  if (head) stats.head++; else stats.get++;
  if (!o && !s) { fail(c, 404, "NoSuchKey"); return; }
  if (o && o->odd && !head) { fail(c, 410, "BytesWereNotKept"); return; }
  u64 size = o ? o->size : s->size, from = 0, to = size;
  const char *etag = o ? o->etag : s->etag;
  size_t n = strlen(etag);
  if (c->if_match && strcmp(c->if_match, "*") && !memmem(c->if_match, strlen(c->if_match), etag, n)) { fail(c, 412, "PreconditionFailed"); return; }
  if (c->if_none && memmem(c->if_none, strlen(c->if_none), etag, n)) { reply(c, 304, "Not Modified"); return; }
  if (c->range && !strncmp(c->range, "bytes=", 6)) {
    char *p = c->range + 6, *end;
    if (*p == '-') { u64 tail = strtoull(p + 1, NULL, 10); from = tail < size ? size - tail : 0; }
    else {
      from = strtoull(p, &end, 10);
      if (end[0] == '-' && end[1]) { u64 until = strtoull(end + 1, NULL, 10); if (until + 1 < size) to = until + 1; }
    }
    if (from >= size || to <= from) { fail(c, 416, "InvalidRange"); return; }
  }
  int part = c->range && !(from == 0 && to == size && !c->range);
  begin(c, part ? 206 : 200, part ? "Partial Content" : "OK");
  addf(&c->out, "Last-Modified: %s\r\nETag: \"%s\"\r\nAccept-Ranges: bytes\r\nContent-Length: %llu\r\n", http_date(o ? o->time : space_time), etag, (long long)(to - from));
  if (part) addf(&c->out, "Content-Range: bytes %llu-%llu/%llu\r\n", (long long)from, (long long)to - 1, (long long)size);
  if (head && c->mode && !(o && o->odd)) kept_crc(c, size);
  if (o) adds(&c->out, o->headers);
  if (!o || !strcasestr(o->headers, "\r\ncontent-type:")) adds(&c->out, "Content-Type: binary/octet-stream\r\n");
  adds(&c->out, "\r\n");
  if (!head) c->send_from = from, c->send_left = to - from;
}
static int bad_digest(Conn *c, const u8 md5[16]) { /* what the client said of its body, against what came */
  char text[40];
  if (c->content_md5) { base64(md5, 16, text); if (strcmp(text, c->content_md5)) return 1; }
  for (int w = 0; w < CRCS; w++)
    if (c->crc_value[w]) { crc_text(w, digest_crc(&c->digest, w), text); if (strcmp(text, c->crc_value[w])) return 1; }
  return 0;
}
static void written(Conn *c, const char *etag) { /* answers with the checksums asked for, CRC64NVME if none */
  int any = c->asked[CRC64] | c->asked[CRC32C] | c->asked[CRC32];
  char text[40];
  begin(c, 200, "OK");
  addf(&c->out, "ETag: \"%s\"\r\n", etag);
  for (int w = 0; w < CRCS; w++)
    if (c->asked[w] || (!any && w == CRC64)) { crc_text(w, digest_crc(&c->digest, w), text); addf(&c->out, "x-amz-checksum-%s: %s\r\n", crc_name[w], text); }
  finish(c, NULL, NULL);
}
static void put(Conn *c) {
  const char *id = arg(c, "uploadId"), *number = arg(c, "partNumber");
  u8 md5[16]; char etag[48];
  if (c->copy_source) { fail(c, 501, "NotImplemented"); return; }
  if (c->bad_request || (c->chunked && c->digest.n != c->decoded)) { fail(c, 400, "IncompleteBody"); return; }
  digest_md5(&c->digest, md5); hex(md5, etag);
  if (bad_digest(c, md5)) { fail(c, 400, "BadDigest"); return; }
  stats.odd += c->digest.odd;
  if (id && number) {
    Upload *u = *upload_find(id, c->name);
    int n = atoi(number);
    stats.part++;
    if (!u) { fail(c, 404, "NoSuchUpload"); return; }
    if (n < 1 || n > 10000) { fail(c, 400, "InvalidArgument"); return; }
    if (n > u->n) { u->parts = realloc(u->parts, n * sizeof(Part)); memset(u->parts + u->n, 0, (n - u->n) * sizeof(Part)); u->n = n; }
    Part *p = &u->parts[n - 1];
    p->size = c->digest.n; p->odd = c->digest.odd | 2; memcpy(p->md5, md5, 16); /* 2: it exists */
  } else {
    stats.put++;
    if (c->if_none && (object_find(c->name) || space_find(c->bucket, c->key))) { fail(c, 412, "PreconditionFailed"); return; }
    object_put(c->name, c->digest.n, etag, c->headers.n ? c->headers.p : "", c->digest.odd);
  }
  written(c, etag);
}
static void create(Conn *c) {
  Upload *u = calloc(1, sizeof *u);
  u->id = next_upload++; u->name = strdup(c->name); u->headers = strdup(c->headers.n ? c->headers.p : ""); u->time = time(NULL);
  u->next = uploads; uploads = u;
  stats.create++;
  Buf b = {0};
  addf(&b, XMLNS "<Bucket>%s</Bucket><Key>", "InitiateMultipartUploadResult", c->bucket); add_text(&b, c->key, 0);
  addf(&b, "</Key><UploadId>%llx</UploadId></InitiateMultipartUploadResult>", (long long)u->id);
  xml(c, &b);
}
static void complete(Conn *c) {
  Upload **at = upload_find(arg(c, "uploadId"), c->name), *u = *at;
  stats.complete++;
  if (!u) { fail(c, 404, "NoSuchUpload"); return; }
  Part *parts = calloc(u->n + 1, sizeof *parts);
  u64 size = 0; int n = 0, odd = 0;
  char etag[48], part_etag[40];
  for (char *p = c->post.p; p && (p = strstr(p, "<PartNumber>")); p++) {
    int i = atoi(p + 12);
    if (i < 1 || i > u->n || !(u->parts[i - 1].odd & 2)) { free(parts); fail(c, 400, "InvalidPart"); return; }
    hex(u->parts[i - 1].md5, part_etag);
    if (!memmem(c->post.p, c->post.n, part_etag, 32)) { free(parts); fail(c, 400, "InvalidPart"); return; }
    if (n == u->n || (n && i <= 1)) { free(parts); fail(c, 400, "InvalidPartOrder"); return; }
    odd |= (u->parts[i - 1].odd & 1) | (size % PERIOD != 0); /* a part that doesn't begin a period differs from the pattern */
    size += u->parts[i - 1].size;
    parts[n++] = u->parts[i - 1];
  }
  if (!n) { free(parts); fail(c, 400, "MalformedXML"); return; }
  multipart_etag(parts, n, etag); free(parts);
  object_put(c->name, size, etag, u->headers, odd);
  upload_free(at);
  Buf b = {0};
  addf(&b, XMLNS "<Location>/</Location><Bucket>%s</Bucket><Key>", "CompleteMultipartUploadResult", c->bucket); add_text(&b, c->key, 0);
  addf(&b, "</Key><ETag>&quot;%s&quot;</ETag></CompleteMultipartUploadResult>", etag);
  xml(c, &b);
}
static void list_parts(Conn *c) {
  Upload *u = *upload_find(arg(c, "uploadId"), c->name);
  Buf b = {0}; char etag[40];
  if (!u) { fail(c, 404, "NoSuchUpload"); return; }
  addf(&b, XMLNS "<Bucket>%s</Bucket><UploadId>%llx</UploadId><MaxParts>10000</MaxParts><IsTruncated>false</IsTruncated>", "ListPartsResult", c->bucket, (long long)u->id);
  for (int i = 0; i < u->n; i++) {
    if (!(u->parts[i].odd & 2)) continue;
    hex(u->parts[i].md5, etag);
    addf(&b, "<Part><PartNumber>%d</PartNumber><LastModified>%s</LastModified><ETag>&quot;%s&quot;</ETag><Size>%llu</Size></Part>", i + 1, xml_date(u->time), etag, (long long)u->parts[i].size);
  }
  adds(&b, "</ListPartsResult>");
  xml(c, &b);
}
static void list_uploads(Conn *c) {
  const char *prefix = arg(c, "prefix") ?: "";
  size_t bucket_n = strlen(c->bucket);
  Buf b = {0};
  addf(&b, XMLNS "<Bucket>%s</Bucket><MaxUploads>1000</MaxUploads><IsTruncated>false</IsTruncated>", "ListMultipartUploadsResult", c->bucket);
  for (Upload *u = uploads; u; u = u->next) {
    if (strncmp(u->name, c->bucket, bucket_n) || u->name[bucket_n] != '/' || strncmp(u->name + bucket_n + 1, prefix, strlen(prefix))) continue;
    adds(&b, "<Upload><Key>"); add_text(&b, u->name + bucket_n + 1, 0);
    addf(&b, "</Key><UploadId>%llx</UploadId><Initiated>%s</Initiated></Upload>", (long long)u->id, xml_date(u->time));
  }
  adds(&b, "</ListMultipartUploadsResult>");
  xml(c, &b);
}
static void delete_many(Conn *c) {
  Buf b = {0}; char *end;
  addf(&b, XMLNS, "DeleteResult");
  for (char *p = c->post.p; p && (p = strstr(p, "<Key>")) && (end = strstr(p, "</Key>")); p = end) {
    char name[2800];
    snprintf(name, sizeof name, "%s/%.*s", c->bucket, (int)(end - p - 5), p + 5);
    object_remove(name); stats.del++;
  }
  adds(&b, "</DeleteResult>");
  xml(c, &b);
}
static void admin(Conn *c) {
  Buf b = {0};
  if (!strcmp(c->method, "POST")) { /* reset */
    for (size_t i = 0; i < object_cap; i++) { if (objects[i] && objects[i] != &gone) object_free(objects[i]); objects[i] = NULL; }
    while (uploads) upload_free(&uploads);
    object_count = object_used = 0; sorted_count = -1;
    memset(&stats, 0, sizeof stats);
  }
  addf(&b, "{\"list\":%llu,\"get\":%llu,\"head\":%llu,\"put\":%llu,\"part\":%llu,\"create\":%llu,\"complete\":%llu,\"abort\":%llu,"
           "\"delete\":%llu,\"other\":%llu,\"bytes_in\":%llu,\"bytes_out\":%llu,\"odd_bodies\":%llu,\"refused\":%llu,"
           "\"connections\":%llu,\"objects\":%zu}\n",
       (long long)stats.list, (long long)stats.get, (long long)stats.head, (long long)stats.put, (long long)stats.part,
       (long long)stats.create, (long long)stats.complete, (long long)stats.abort, (long long)stats.del, (long long)stats.other,
       (long long)stats.in, (long long)stats.out, (long long)stats.odd, (long long)stats.bad, (long long)stats.connections, object_count);
  begin(c, 200, "OK"); finish(c, "application/json", &b);
}
static void bucket_request(Conn *c) {
  Buf b = {0};
  int is_get = !strcmp(c->method, "GET");
  if (is_get && arg(c, "uploads")) { list_uploads(c); return; }
  if (!strcmp(c->method, "POST") && arg(c, "delete")) { delete_many(c); return; }
  if (is_get && !arg(c, "location") && !arg(c, "versioning") && (!c->queries || arg(c, "prefix") || arg(c, "list-type") || arg(c, "max-keys") || arg(c, "marker") || arg(c, "delimiter") || arg(c, "encoding-type"))) { list(c); return; }
  stats.other++;
  if (!strcmp(c->method, "HEAD")) { begin(c, 200, "OK"); adds(&c->out, "x-amz-bucket-region: us-east-1\r\n"); finish(c, NULL, NULL); }
  else if (!strcmp(c->method, "PUT")) reply(c, 200, "OK");
  else if (!strcmp(c->method, "DELETE")) reply(c, 204, "No Content");
  else if (is_get && arg(c, "location")) { addf(&b, XMLNS "</LocationConstraint>", "LocationConstraint"); xml(c, &b); }
  else if (is_get && arg(c, "versioning")) { addf(&b, XMLNS "</VersioningConfiguration>", "VersioningConfiguration"); xml(c, &b); }
  else fail(c, 501, "NotImplemented");
}
static void answer(Conn *c) {
  Buf b = {0};
  snprintf(c->name, sizeof c->name, "%s/%s", c->bucket, c->key);
  if (!strcmp(c->bucket, "-")) admin(c);
  else if (!*c->bucket) { stats.other++; addf(&b, XMLNS "<Owner><ID>bench</ID></Owner><Buckets>", "ListAllMyBucketsResult");
    for (int i = 0; i < space_count; i++) if (!i || strcmp(spaces[i].bucket, spaces[i - 1].bucket)) addf(&b, "<Bucket><Name>%s</Name><CreationDate>%s</CreationDate></Bucket>", spaces[i].bucket, xml_date(space_time));
    adds(&b, "</Buckets></ListAllMyBucketsResult>"); xml(c, &b); }
  else if (!*c->key) bucket_request(c);
  else if (strlen(c->key) > 1024) fail(c, 400, "KeyTooLongError");
  else if (!strcmp(c->method, "GET") && arg(c, "uploadId")) { stats.other++; list_parts(c); }
  else if (arg(c, "tagging") || arg(c, "acl")) fail(c, 501, "NotImplemented");
  else if (!strcmp(c->method, "GET")) get(c, 0);
  else if (!strcmp(c->method, "HEAD")) get(c, 1);
  else if (!strcmp(c->method, "PUT")) put(c);
  else if (!strcmp(c->method, "POST") && arg(c, "uploads")) create(c);
  else if (!strcmp(c->method, "POST") && arg(c, "uploadId")) complete(c);
  else if (!strcmp(c->method, "DELETE") && arg(c, "uploadId")) {
    Upload **u = upload_find(arg(c, "uploadId"), c->name);
    stats.abort++;
    if (*u) { upload_free(u); reply(c, 204, "No Content"); } else fail(c, 404, "NoSuchUpload");
  } else if (!strcmp(c->method, "DELETE")) { stats.del++; object_remove(c->name); reply(c, 204, "No Content"); }
  else fail(c, 405, "MethodNotAllowed");
  c->state = SENDING;
}

/* ---- the wire ---- */
static ssize_t wire_read(Conn *c, void *p, size_t n) {
#ifdef TLS
  if (c->ssl) {
    ERR_clear_error();
    int got = SSL_read(c->ssl, p, n);
    if (got > 0) return got;
    int e = SSL_get_error(c->ssl, got);
    if (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE) return 0;
    errno = EAGAIN;
    return -1;
  }
#endif
  return recv(c->fd, p, n, 0);
}
static ssize_t wire_write(Conn *c, struct iovec *v, int n) {
#ifdef TLS
  if (c->ssl) {
    ssize_t sum = 0;
    for (int i = 0; i < n; i++)
      for (size_t at = 0; at < v[i].iov_len;) {
        ERR_clear_error();
        int put = SSL_write(c->ssl, (char *)v[i].iov_base + at, v[i].iov_len - at);
        if (put <= 0) {
          int e = SSL_get_error(c->ssl, put);
          if (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE) { errno = EPIPE; return -1; }
          errno = EAGAIN;
          return sum ? sum : -1;
        }
        at += put; sum += put;
      }
    return sum;
  }
#endif
  return writev(c->fd, v, n);
}
static void body_add(Conn *c, const u8 *p, size_t n) {
  stats.in += n;
  if (!strcmp(c->method, "POST")) { if (c->post.n + n <= POST_MAX) add(&c->post, (const char *)p, n); return; }
  if (!c->chunked) { digest_add(&c->digest, p, n); return; }
  while (n) { /* aws-chunked: SIZE[;chunk-signature=..]\r\n BYTES \r\n ... 0..\r\n [trailer\r\n] \r\n */
    if (c->chunk_state == 0 || c->chunk_state == 1) { /* the size, then the rest of its line */
      u8 ch = *p++; n--;
      if (ch == '\n') { c->chunk_state = c->chunk_left ? 2 : 4; continue; }
      if (c->chunk_state == 1 || ch == ';' || ch == '\r') { c->chunk_state = 1; continue; }
      int v = ch >= 'a' ? ch - 'a' + 10 : ch >= 'A' ? ch - 'A' + 10 : ch - '0';
      if (v < 0 || v > 15) c->bad_request = 1;
      c->chunk_left = c->chunk_left * 16 + v;
    } else if (c->chunk_state == 2) {
      size_t take = n < c->chunk_left ? n : c->chunk_left;
      digest_add(&c->digest, p, take);
      p += take; n -= take; c->chunk_left -= take;
      if (!c->chunk_left) c->chunk_state = 3;
    } else if (c->chunk_state == 3) { /* the line end after the bytes */
      n--;
      if (*p++ == '\n') c->chunk_state = 0;
    } else break; /* trailers: their checksums are answered, not verified */
  }
}
static int parse(Conn *c) { /* 0: more is needed; 1: a head is here; -1: this is no HTTP */
  c->in[c->in_n] = 0;
  char *end = memmem(c->in, c->in_n, "\r\n\r\n", 4);
  if (!end) return c->in_n >= HEAD_MAX ? -1 : 0;
  c->head_n = end + 4 - c->in;
  end[2] = 0;
  char *line = strstr(c->in, "\r\n"), *target, *p, *save;
  *line = 0; line += 2;
  c->method = c->in;
  if (!(target = strchr(c->in, ' ')) || !(p = strchr(target + 1, ' '))) return -1;
  *target++ = *p = 0;
  c->queries = c->length = c->chunked = c->mode = c->bad_request = c->decoded = c->headers.n = c->post.n = c->close = 0;
  c->range = c->if_match = c->if_none = c->content_md5 = c->copy_source = NULL;
  memset(c->asked, 0, sizeof c->asked); memset(c->crc_value, 0, sizeof c->crc_value);
  if ((p = strchr(target, '?'))) {
    *p++ = 0;
    for (char *q = strtok_r(p, "&", &save); q && c->queries < 24; q = strtok_r(NULL, "&", &save)) {
      char *v = strchr(q, '=');
      if (v) { *v++ = 0; decode(v, 1); }
      c->query[c->queries][0] = q; c->query[c->queries++][1] = v ? v : "";
    }
  }
  c->bucket = *target == '/' ? target + 1 : target;
  if ((c->key = strchr(c->bucket, '/'))) *c->key++ = 0; else c->key = "";
  if (*c->key) decode(c->key, 0);
  for (char *next; *line; line = next) {
    next = strstr(line, "\r\n");
    *next = 0; next += 2;
    char *v = strchr(line, ':');
    if (!v) return -1;
    *v++ = 0; v += strspn(v, " ");
    if (!strcasecmp(line, "content-length")) c->length = strtoull(v, NULL, 10);
    else if (!strcasecmp(line, "transfer-encoding")) return -1;
    else if (!strcasecmp(line, "connection")) c->close = !strcasecmp(v, "close");
    else if (!strcasecmp(line, "range")) c->range = v;
    else if (!strcasecmp(line, "if-match")) c->if_match = v;
    else if (!strcasecmp(line, "if-none-match")) c->if_none = v;
    else if (!strcasecmp(line, "x-amz-checksum-mode")) c->mode = 1;
    else if (!strcasecmp(line, "content-md5")) c->content_md5 = v;
    else if (!strcasecmp(line, "x-amz-copy-source")) c->copy_source = v;
    else if (!strcasecmp(line, "x-amz-decoded-content-length")) c->decoded = strtoull(v, NULL, 10);
    else if (!strcasecmp(line, "x-amz-content-sha256")) c->chunked = !strncmp(v, "STREAMING-", 10);
    else if (!strcasecmp(line, "expect")) { if (wire_write(c, &(struct iovec){"HTTP/1.1 100 Continue\r\n\r\n", 25}, 1) != 25) return -1; }
    else if (!strncasecmp(line, "x-amz-meta-", 11) || !strcasecmp(line, "content-type") || !strcasecmp(line, "cache-control") ||
             !strcasecmp(line, "content-encoding") || !strcasecmp(line, "content-disposition") || !strcasecmp(line, "content-language"))
      addf(&c->headers, "%s: %s\r\n", line, v);
    else for (int w = 0; w < CRCS; w++) {
      if (!strncasecmp(line, "x-amz-checksum-", 15) && !strcasecmp(line + 15, crc_name[w])) c->asked[w] = 1, c->crc_value[w] = v;
      if ((!strcasecmp(line, "x-amz-sdk-checksum-algorithm") || !strcasecmp(line, "x-amz-checksum-algorithm")) && !strcasecmp(v, crc_name[w])) c->asked[w] = 1;
      if (!strcasecmp(line, "x-amz-trailer") && strlen(v) > 15 && !strcasecmp(v + 15, crc_name[w])) c->asked[w] = 1;
    }
  }
  c->left = c->length; c->chunk_state = 0; c->chunk_left = 0;
  digest_init(&c->digest);
  return 1;
}
static void ended(Conn *c) { /* the request is whole */
  if (delay_ms && strcmp(c->bucket, "-")) { c->state = WAITING; later(c, now_ms() + delay_ms); } else answer(c);
}
static int send_some(Conn *c) { /* 1: all is sent; 0: later; -1: gone */
  while (c->out_at < c->out.n || c->send_left) {
    struct iovec v[2]; int n = 0;
    if (c->out_at < c->out.n) v[n++] = (struct iovec){c->out.p + c->out_at, c->out.n - c->out_at};
    if (c->send_left) v[n++] = (struct iovec){pattern + c->send_from % PERIOD, c->send_left < PERIOD ? c->send_left : PERIOD};
    ssize_t put = wire_write(c, v, n);
    if (put < 0) return errno == EAGAIN ? 0 : -1;
    stats.out += put;
    size_t head = c->out.n - c->out_at < (size_t)put ? c->out.n - c->out_at : (size_t)put;
    c->out_at += head; put -= head;
    c->send_from += put; c->send_left -= put;
  }
  return 1;
}
static void drop(Conn *c) {
  close(c->fd);
#ifdef TLS
  if (c->ssl) SSL_free(c->ssl);
#endif
  free(c->headers.p); free(c->post.p); free(c->out.p); free(c);
}
static void drive(Conn *c) { /* go on until nothing can; others get their turn after a few megabytes */
  for (int turns = 0;; turns++) {
    if (turns == 64) { if (delay_ms) turns = 0; else { later(c, 0); return; } }
    if (c->state == WAITING) return;
    if (c->state == SENDING) {
      int sent = send_some(c);
      if (sent == 0) return;
      if (sent < 0 || c->close) { drop(c); return; }
      size_t used = c->head_n;
      memmove(c->in, c->in + used, c->in_n - used);
      c->in_n -= used; c->state = READING;
    }
    if (c->state == READING) {
      int head = c->in_n ? parse(c) : 0;
      if (head < 0) { drop(c); return; }
      if (head) {
        size_t have = c->in_n - c->head_n, take = have < c->left ? have : c->left;
        body_add(c, (u8 *)c->in + c->head_n, take);
        c->left -= take;
        if (c->left) { c->in_n = c->head_n; c->state = BODY; }
        else { memmove(c->in + c->head_n, c->in + c->head_n + take, have - take); c->in_n -= take; ended(c); continue; }
      }
    }
    size_t space = IN_SIZE - 1 - c->in_n;
    if (c->state == BODY && space > c->left) space = c->left;
    ssize_t got = wire_read(c, c->in + c->in_n, space);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) { drop(c); return; }
    if (c->state == READING) { c->in_n += got; continue; }
    body_add(c, (u8 *)c->in + c->in_n, got);
    if (!(c->left -= got)) ended(c);
  }
}
int main(int argc, char **argv) {
  struct in_addr address = {htonl(INADDR_LOOPBACK)};
  int port = 0, opt, yes = 1;
  char *certificate = NULL;
  u64 x = 88172645463325252ull;
  for (int i = 0; i < PERIOD; i += 8) { x ^= x << 13; x ^= x >> 7; x ^= x << 17; memcpy(pattern + i, &x, 8); }
  memcpy(pattern + PERIOD, pattern, PERIOD);
  digest_tables();
  while ((opt = getopt(argc, argv, "a:p:k:rl:s:")) != -1) {
    if (opt == 'p') port = atoi(optarg);
    else if (opt == 'a') inet_aton(optarg, &address);
    else if (opt == 'r') remember = 1;
    else if (opt == 'l') delay_ms = atoi(optarg);
    else if (opt == 's') certificate = optarg;
    else if (opt == 'k' && space_count < 64) {
      Space *s = &spaces[space_count++];
      char *f[6] = {0};
      for (int i = 0; i < 6; i++) f[i] = strsep(&optarg, ":");
      if (!f[3]) { fprintf(stderr, "store: -k BUCKET:PREFIX:COUNT:SIZE[:PER_FOLDER[:PART]]\n"); return 2; }
      *s = (Space){f[0], f[1], strtoull(f[2], 0, 10), strtoull(f[3], 0, 10), f[4] ? strtoull(f[4], 0, 10) : 0, f[5] ? strtoull(f[5], 0, 10) : 0, ""};
      space_etag(s);
    } else { fprintf(stderr, "usage: see the head of store.c\n"); return 2; }
  }
  signal(SIGPIPE, SIG_IGN);
  prctl(PR_SET_PDEATHSIG, SIGKILL); /* whoever started it is gone */
#ifdef TLS
  SSL_CTX *tls = NULL;
  if (certificate) {
    tls = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (SSL_CTX_use_certificate_chain_file(tls, certificate) != 1 || SSL_CTX_use_PrivateKey_file(tls, certificate, SSL_FILETYPE_PEM) != 1) { ERR_print_errors_fp(stderr); return 1; }
  }
#else
  if (certificate) { fprintf(stderr, "store: built without TLS\n"); return 2; }
#endif
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = address};
  socklen_t at_n = sizeof at;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(listener, (void *)&at, sizeof at) || listen(listener, 4096)) { perror("store"); return 1; }
  getsockname(listener, (void *)&at, &at_n);
  epoll_fd = epoll_create1(0);
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN});
  printf("port %d\n", ntohs(at.sin_port)); fflush(stdout);
  for (struct epoll_event events[256];;) {
    u64 now = queue_head && delay_ms ? now_ms() : 0;
    int n = epoll_wait(epoll_fd, events, 256, !queue_head ? -1 : queue_head->due > now ? (int)(queue_head->due - now) : 0);
    for (int i = 0; i < n; i++) {
      Conn *c = events[i].data.ptr;
      if (c) { if (!c->queued) drive(c); continue; }
      for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        c = calloc(1, sizeof *c);
        c->fd = fd; stats.connections++;
#ifdef TLS
        if (tls) { c->ssl = SSL_new(tls); SSL_set_fd(c->ssl, fd); SSL_set_accept_state(c->ssl); }
#endif
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, .data.ptr = c});
      }
    }
    now = delay_ms ? now_ms() : 0;
    for (Conn *c, *stop = NULL; (c = queue_head) && c->due <= now && c != stop;) {
      if (!(queue_head = c->next)) queue_tail = &queue_head;
      c->queued = 0;
      if (!stop && !delay_ms) stop = c; /* one round, then the network again */
      if (c->state == WAITING) answer(c);
      drive(c);
    }
  }
}
