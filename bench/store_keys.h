/* Part of store.c: what exists. Synthetic key spaces, found by arithmetic; objects written, in a hash table and, when
 * listed, in order; open multipart uploads. */
typedef struct { char *bucket, *prefix; u64 count, size, fan, part; char etag[48]; } Space;
static Space spaces[64];
static int space_count;
static time_t space_time = 1714521600; /* 2024-05-01: older than anything written now */
typedef struct { char *name, *headers; u64 size; char etag[48]; time_t time; int odd; } Object; /* name: bucket/key */
static Object **objects, **sorted; /* a hash table; the live ones in order, if `sorted_count` >= 0 */
static size_t object_cap, object_count, object_used;
static long sorted_count = -1;
static Object gone;
typedef struct { u64 size; u8 md5[16]; int odd; } Part;
typedef struct Upload { struct Upload *next; u64 id; char *name, *headers; Part *parts; int n; time_t time; } Upload;
static Upload *uploads;
static u64 next_upload = 1;

static char *digits(char *p, u64 v, int n) { for (int i = n; i--; v /= 10) p[i] = '0' + v % 10; return p + n; }
static size_t space_key(const Space *s, u64 i, char *out) {
  size_t n = strlen(s->prefix);
  memcpy(out, s->prefix, n);
  char *p = out + n;
  if (s->fan) { *p++ = 'd'; p = digits(p, i / s->fan, 7); *p++ = '/'; }
  *p++ = 'f'; p = digits(p, i, 9); *p = 0;
  return p - out;
}
static Space *space_find(const char *bucket, const char *key) {
  char at[1200];
  size_t n = strlen(key);
  for (Space *s = spaces; s < spaces + space_count; s++) {
    if (strcmp(s->bucket, bucket) || n < 10) continue;
    u64 i = strtoull(key + n - 9, NULL, 10);
    if (i < s->count && space_key(s, i, at) == n && !memcmp(at, key, n)) return s;
  }
  return NULL;
}
static u64 space_seek(const Space *s, const char *from, int after) { /* index of the first key >= from (> if after) */
  u64 lo = 0, hi = s->count;
  char at[1200];
  while (lo < hi) {
    u64 mid = (lo + hi) / 2;
    space_key(s, mid, at);
    int c = strcmp(at, from);
    if (c < 0 || (after && !c)) lo = mid + 1; else hi = mid;
  }
  return lo;
}
static Object **object_slot(const char *name) {
  u64 h = 14695981039346656037ull;
  for (const char *p = name; *p; p++) h = (h ^ (u8)*p) * 1099511628211ull;
  Object **free_slot = NULL;
  for (size_t i = h ^ h >> 32;; i++) {
    Object **o = &objects[i & (object_cap - 1)];
    if (!*o) return free_slot ? free_slot : o;
    if (*o == &gone) { if (!free_slot) free_slot = o; }
    else if (!strcmp((*o)->name, name)) return o;
  }
}
static Object *object_find(const char *name) { Object *o = object_cap ? *object_slot(name) : NULL; return o == &gone ? NULL : o; }
static void object_free(Object *o) { free(o->name); free(o->headers); free(o); }
static void object_remove(const char *name) {
  if (!object_find(name)) return;
  Object **slot = object_slot(name);
  object_free(*slot); *slot = &gone; object_count--; sorted_count = -1;
}
static void object_put(const char *name, u64 size, const char *etag, const char *headers, int odd) {
  if (!remember) return;
  if ((object_used + 1) * 2 > object_cap) {
    Object **old = objects; size_t n = object_cap;
    objects = calloc(object_cap = n ? n * 2 : 1 << 16, sizeof *objects);
    object_used = object_count;
    for (size_t i = 0; i < n; i++) if (old[i] && old[i] != &gone) *object_slot(old[i]->name) = old[i];
    free(old);
  }
  Object **slot = object_slot(name), *o = *slot;
  if (o && o != &gone) free(o->headers);
  else { object_used += !o; o = *slot = calloc(1, sizeof *o); o->name = strdup(name); object_count++; sorted_count = -1; }
  o->size = size; o->headers = strdup(headers); o->time = time(NULL); o->odd = odd;
  snprintf(o->etag, sizeof o->etag, "%s", etag);
}
static int by_name(const void *a, const void *b) { return strcmp((*(Object **)a)->name, (*(Object **)b)->name); }
static void object_sort(void) {
  if (sorted_count >= 0) return;
  sorted = realloc(sorted, (object_count + 1) * sizeof *sorted);
  sorted_count = 0;
  for (size_t i = 0; i < object_cap; i++) if (objects[i] && objects[i] != &gone) sorted[sorted_count++] = objects[i];
  qsort(sorted, sorted_count, sizeof *sorted, by_name);
}
static long object_seek(const char *name, int after) {
  long lo = 0, hi = sorted_count;
  while (lo < hi) {
    long mid = (lo + hi) / 2; int c = strcmp(sorted[mid]->name, name);
    if (c < 0 || (after && !c)) lo = mid + 1; else hi = mid;
  }
  return lo;
}
static Upload **upload_find(const char *id, const char *name) {
  u64 n = strtoull(id, NULL, 16);
  Upload **u = &uploads;
  while (*u && ((*u)->id != n || strcmp((*u)->name, name))) u = &(*u)->next;
  return u;
}
static void upload_free(Upload **at) { Upload *u = *at; *at = u->next; free(u->name); free(u->headers); free(u->parts); free(u); }
static void multipart_etag(const Part *parts, int n, char *out) {
  Md5 m; u8 sum[16];
  md5_init(&m);
  for (int i = 0; i < n; i++) md5_add(&m, parts[i].md5, 16);
  md5_end(&m, sum); hex(sum, out); sprintf(out + 32, "-%d", n);
}
static void space_etag(Space *s) {
  Digest d = {.n = s->size};
  u8 sum[16];
  if (!s->part) { digest_md5(&d, sum); hex(sum, s->etag); return; }
  int n = 0;
  Part *parts = calloc(s->size / s->part + 1, sizeof *parts);
  for (u64 at = 0; at < s->size; at += s->part) {
    d.n = s->size - at < s->part ? s->size - at : s->part;
    digest_md5(&d, parts[n++].md5);
  }
  multipart_etag(parts, n, s->etag); free(parts);
}

